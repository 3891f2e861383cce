"""Long text in pieces that are spoken one by one."""

from __future__ import annotations

import re

from bench.errors import UsageError

LONGEST = 300  # characters of a piece; about 20 s of speech

_END = re.compile(r"(?<=[.!?…])\s+|(?<=[.!?…][\"'”’)\]])\s+|\n\s*\n")
_CLAUSE = re.compile(r"(?<=[;:,—])\s+|\s+(?=[—–-]\s)")
_GOES_ON = re.compile(
    r"(?:^|\W)(?:mrs?|drs?|st|co|jr|maj|gen|rev|lt|hon|sgt|capt|esq|ltd|col|ft|vs|etc|no|e\.g|i\.e|[a-z])\.$",
    re.IGNORECASE,
)


def sentences(text: str, longest: int = LONGEST) -> list[str]:
    """``text`` as pieces of at most ``longest`` characters, each with a letter or digit; none for a text without.

    Cuts are made at ends of sentences (not after "Dr." or an initial); in too long sentences at clauses,
    then at blanks, at last within a word. White space is collapsed. Raises :class:`UsageError` for ``longest`` < 1.
    """
    if longest < 1:
        raise UsageError(f"longest = {longest}", "give at least 1 character.")
    pieces: list[str] = []
    for sentence in _END.split(text):
        flat = " ".join(sentence.split())
        if pieces and flat and _GOES_ON.search(pieces[-1]):
            pieces[-1] = f"{pieces[-1]} {flat}"
        elif flat:
            pieces.append(flat)
    short = [part for piece in pieces for part in _shorten(piece, longest)]
    return [part for part in short if any(c.isalnum() for c in part)]


def _shorten(piece: str, longest: int) -> list[str]:
    """``piece`` as parts that are no longer than ``longest``, as few as joining neighbours allows."""
    if len(piece) <= longest:
        return [piece]
    parts = [part for clause in _CLAUSE.split(piece) for part in _words(clause, longest)]
    joined = [parts[0]]
    for part in parts[1:]:
        if len(joined[-1]) + 1 + len(part) <= longest:
            joined[-1] = f"{joined[-1]} {part}"
        else:
            joined.append(part)
    return joined


def _words(clause: str, longest: int) -> list[str]:
    """A clause whole where it is short enough, else its words, cut where one is too long."""
    if len(clause) <= longest:
        return [clause]
    return [word[i : i + longest] for word in clause.split() for i in range(0, len(word), longest)]
