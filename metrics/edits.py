"""Edit counts between a reference and a hypothesis, in words and in characters.

Both texts are normalised already. Costs are one for a substitution, deletion or insertion;
the rate is ``(S + D + I) / N`` with ``N = S + D + hits`` units of the reference, and may exceed 1.
The alignment is jiwer's, so its split into S, D and I is the usual one among equals.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Edits:
    """Counts of one minimum-cost alignment."""

    substitutions: int
    deletions: int
    insertions: int
    hits: int

    @property
    def total(self) -> int:
        """Edits: the numerator of the rate."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def reference(self) -> int:
        """Units of the reference: the denominator of the rate."""
        return self.substitutions + self.deletions + self.hits

    @property
    def rate(self) -> float:
        """Edits per reference unit; the reference must not be empty."""
        return self.total / self.reference

    def parts(self, units: str) -> dict[str, float]:
        """The counts as parts of a score; ``units`` names the denominator (``ref_words``)."""
        counts = {"edits": self.total, units: self.reference, "substitutions": self.substitutions}
        counts |= {"deletions": self.deletions, "insertions": self.insertions, "hits": self.hits}
        return {name: float(count) for name, count in counts.items()}


def word_edits(reference: str, hypothesis: str) -> Edits:
    """Edits between the words (separated by white space). Raises ``ValueError`` for an empty reference."""
    import jiwer

    _check(reference)
    return _edits(jiwer.process_words(" ".join(reference.split()), " ".join(hypothesis.split())))


def char_edits(reference: str, hypothesis: str) -> Edits:
    """Edits between the characters, inner blanks included. Raises ``ValueError`` for an empty reference."""
    import jiwer

    _check(reference)
    return _edits(jiwer.process_characters(reference.strip(), hypothesis.strip()))


def _check(reference: str) -> None:
    if not reference.strip():
        raise ValueError("the reference is empty: its error rate has no denominator")


def _edits(result: object) -> Edits:
    names = ("substitutions", "deletions", "insertions", "hits")
    return Edits(*(int(getattr(result, name)) for name in names))
