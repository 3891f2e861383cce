"""Spoken letters by the mouth shapes of their names, and whether letters are confused within such classes.

The demo's mouths are drawn by the table of :mod:`bench.datasets.demo.visemes`, in which sounds like b and p are one
shape: a system that sees lips alone can only guess between letters whose names look alike.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

#: How espeak-ng says the letters of the demo's sentences (American English), without stress.
LETTER_SOUNDS: Mapping[str, str] = {
    "a": "eI", "b": "b i:", "c": "s i:", "d": "d i:", "e": "i:", "f": "E f", "g": "dZ i:", "h": "eI tS", "i": "aI",
    "j": "dZ eI", "k": "k eI", "l": "E l", "m": "E m", "n": "E n", "o": "oU", "p": "p i:", "q": "k j u:", "r": "A@",
    "s": "E s", "t": "t i:", "u": "j u:", "v": "v i:", "x": "E k s", "y": "w aI", "z": "z i:",
}  # fmt: skip
VOWELS = frozenset(("ii", "ih", "eh", "aa", "ah", "uh", "ax", "uu", "oo"))

Confusions = Mapping[tuple[str, str], int]  # (said, heard) -> how often


@dataclass(frozen=True)
class Split:
    """Wrong letters inside and between the classes of one kind.

    Attributes:
        kind: what letters of a class share.
        inside: wrong letters of the class of the letter that was said.
        between: wrong letters of another class.
        chance: share inside, if each wrong letter were any of the others with equal probability.
        p: probability of so many inside, or more, under that chance (one-sided, exact).
    """

    kind: str
    inside: int
    between: int
    chance: float
    p: float

    @property
    def errors(self) -> int:
        """Wrong letters."""
        return self.inside + self.between

    @property
    def share(self) -> float | None:
        """Share of the errors that lie inside; ``None`` without errors."""
        return self.inside / self.errors if self.errors else None


def mouth_shapes(letter: str) -> tuple[str, ...]:
    """The visemes of a letter's name in order."""
    from bench.datasets.demo.visemes import PHONEMES

    return tuple(viseme for sound in LETTER_SOUNDS[letter].split() for viseme in PHONEMES[sound])


def classes(kind: str) -> list[tuple[str, ...]]:
    """The letters, grouped: ``all mouth shapes`` equal, or ``vowel shapes`` equal; sorted."""
    groups: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for letter in LETTER_SOUNDS:
        shapes = mouth_shapes(letter)
        groups[shapes if kind == KINDS[0] else tuple(shape for shape in shapes if shape in VOWELS)].append(letter)
    return sorted(tuple(sorted(group)) for group in groups.values())


KINDS = ("all mouth shapes", "vowel shapes")


def split(kind: str, confusions: Confusions) -> Split:
    """Wrong letters by the classes of ``kind``; pairs of equal letters are none."""
    of = {letter: group for group in classes(kind) for letter in group}
    wrong = {pair: count for pair, count in confusions.items() if pair[0] != pair[1]}
    inside = sum(count for (said, heard), count in wrong.items() if heard in of[said])
    chances = [
        (len(of[said]) - 1) / (len(LETTER_SOUNDS) - 1) for (said, _), count in wrong.items() for _ in range(count)
    ]
    mean = sum(chances) / len(chances) if chances else 0.0
    return Split(kind, inside, len(chances) - inside, mean, at_least(inside, chances))


def at_least(count: int, chances: Sequence[float]) -> float:
    """Probability that ``count`` or more of independent events with these ``chances`` happen."""
    shares = [1.0]  # probability of 0, 1, … events so far
    for chance in chances:
        longer = [*shares, 0.0]
        for number in range(len(shares), 0, -1):
            longer[number] = longer[number] * (1 - chance) + shares[number - 1] * chance
        longer[0] *= 1 - chance
        shares = longer
    return min(1.0, sum(shares[count:]))


def best_reader(said: Iterable[str]) -> float | None:
    """Accuracy of one that sees every mouth shape and guesses among letters that look alike; ``None``: no letters."""
    sizes = {letter: len(group) for group in classes(KINDS[0]) for letter in group}
    letters = list(said)
    return sum(1 / sizes[letter] for letter in letters) / len(letters) if letters else None
