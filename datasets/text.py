"""Text files of LRS2 and LRS3: head, face track, words. Also plain transcripts.

Shape (specs/datasets.md 2.2): a head of ``Key: value`` lines, then blocks set apart by empty
lines: face track (header ``FRAME X Y W H``, one row per frame) and words (header
``WORD START END ASDSCORE``, one row per word). Reading never fails: what is wrong with a file
is listed as (code, detail) with the codes of ``bench data check``.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

MAX_BYTES = 8 << 20  # no transcript is this long; larger files are not read
WORD_HEADER = "WORD START END ASDSCORE"
_TRACK_HEADER = ["FRAME", "X", "Y", "W", "H"]
_MARK = re.compile(r"\{[^{}]*\}")
_HEAD_LINE = re.compile(r"\s*[A-Za-z][A-Za-z ]*:")
_END_SLACK_S = 0.2  # the last word may end this long after the clip
_INT32 = 2**31


@dataclass(frozen=True, slots=True)
class Word:
    """A row of the word block: times in seconds from the clip's start, active-speaker score."""

    text: str
    start: float
    end: float
    score: float


@dataclass(frozen=True, slots=True)
class TrackRow:
    """A row of the face track: source frame at 25 fps; box as fractions of the source picture."""

    frame: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class TextFile:
    """What a text file says. ``raw`` is the transcript as stored, ``norm`` its normal form.

    ``words`` and ``track`` are ``None`` where the file has no such block. ``problems`` are
    (code, detail) of what can be told from the file alone.
    """

    raw: str | None = None
    norm: str | None = None
    conf: int | None = None
    ref: str | None = None
    head: Mapping[str, str] = field(default_factory=dict)
    words: tuple[Word, ...] | None = None
    track: tuple[TrackRow, ...] | None = None
    problems: tuple[tuple[str, str], ...] = ()


def normalise(text: str) -> str:
    """The stored form of an LRS transcript: marks in braces removed, single spaces, upper case."""
    return plain(_MARK.sub(" ", text)).upper()


def plain(text: str) -> str:
    """A transcript in one line: control characters become spaces, spaces are single; case is kept."""
    kept = "".join(" " if unicodedata.category(c) in {"Cc", "Cs"} else c for c in text)
    return " ".join(kept.split())


def decode(data: bytes) -> tuple[str, str]:
    """UTF-8 text with ``LF`` line ends and no byte-order mark, and what was wrong with it (or "")."""
    problem = ""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        text = data.decode("utf-8-sig", "replace")
        problem = f"no UTF-8 at byte {error.start}"
    return text.replace("\r\n", "\n").replace("\r", "\n"), problem


def has_head(text: str) -> bool:
    """Whether a text begins with a head that has a ``Text:`` line."""
    return "Text" in _head(_block_lines(text))


def parse_lrs(data: bytes) -> TextFile:
    """Read a text file of LRS2 or LRS3."""
    text, encoding_problem = decode(data)
    lines = _block_lines(text)
    head = _head(lines)
    problems = [("text-charset", encoding_problem)] if encoding_problem else []
    raw = head.get("Text")
    norm = normalise(raw) if raw is not None else None
    if not norm:
        problems.append(("text-head", "no `Text:` line" if raw is None else "the transcript is empty"))
    else:
        problems += _transcript_problems(raw or "", norm)
    words, word_problems = _words(lines)
    track, track_problems = _track(lines)
    problems += word_problems + track_problems
    if words is not None and norm:
        problems += _word_problems(words, norm)
    return TextFile(raw, norm, _integer(head.get("Conf")), head.get("Ref"), head, words, track, _unique(problems))


def parse_plain(data: bytes) -> TextFile:
    """Read a text file that is either plain words or has a ``Text:`` head; any script and case."""
    text, problem = decode(data)
    problems = [("text-charset", problem)] if problem else []
    head = _head(_block_lines(text)) if has_head(text) else {}
    raw = head["Text"] if head else text.strip()
    norm = plain(_MARK.sub(" ", raw) if head else raw)
    if not norm:
        problems.append(("text-head", "the transcript is empty"))
    return TextFile(raw, norm, _integer(head.get("Conf")), head.get("Ref"), head, None, None, tuple(problems))


def media_problems(text: TextFile, n_frames: int, duration_s: float) -> list[tuple[str, str]]:
    """What does not fit to the decoded video: word times beyond its end, length of the face track."""
    problems = []
    if text.words and text.words[-1].end > duration_s + _END_SLACK_S:
        problems.append(
            ("words-times", f"the last word ends at {text.words[-1].end:g} s, the clip at {duration_s:.2f} s")
        )
    if text.track is not None and abs(len(text.track) - n_frames) > 1:
        problems.append(("track-length", f"{len(text.track)} rows of the face track for {n_frames} frames"))
    return problems


def _block_lines(text: str) -> list[str]:
    """Stripped lines; empty ones at the start are dropped. Only LF separates lines."""
    lines = [line.strip() for line in text.split("\n")]
    first = next((i for i, line in enumerate(lines) if line), len(lines))
    return lines[first:]


def _head(lines: Sequence[str]) -> dict[str, str]:
    """``Key: value`` lines up to the first empty line or block header; the first of a key counts."""
    head: dict[str, str] = {}
    for line in lines:
        if not line or line == WORD_HEADER or line.split() == _TRACK_HEADER:
            break
        if _HEAD_LINE.match(line):
            key, _, value = line.partition(":")
            head.setdefault(key.strip(), value.strip())
    return head


def _transcript_problems(raw: str, norm: str) -> list[tuple[str, str]]:
    problems = []
    strange = sorted({c for c in norm if not (c == " " or c == "'" or "A" <= c <= "Z" or "0" <= c <= "9")})
    controls = sorted({c for c in raw if unicodedata.category(c) in {"Cc", "Cs"} and c != "\t"})
    if strange or controls:
        shown = ", ".join(ascii(c) for c in (strange + controls)[:8])
        problems.append(("text-charset", f"characters outside A-Z, 0-9, apostrophe and space: {shown}"))
    if any(c.islower() for c in _MARK.sub(" ", raw)):
        problems.append(("text-case", "lower-case letters"))
    return problems


def _rows(lines: Sequence[str], header: Sequence[str]) -> list[str] | None:
    """The lines of the block under ``header``, up to an empty line or another header."""
    start = next((i for i, line in enumerate(lines) if line.split() == list(header)), None)
    if start is None:
        return None
    rows = []
    for line in lines[start + 1 :]:
        if not line or line == WORD_HEADER or line.split() == _TRACK_HEADER:
            break
        rows.append(line)
    return rows


def _words(lines: Sequence[str]) -> tuple[tuple[Word, ...] | None, list[tuple[str, str]]]:
    rows = _rows(lines, WORD_HEADER.split())
    if rows is None:
        return None, []
    words, problems = [], []
    for row in rows:
        cells = row.rsplit(None, 3)  # from the right: the word itself may hold spaces
        numbers = [_number(cell) for cell in cells[1:]]
        if len(numbers) < 3 or None in numbers:
            problems.append(("words-mismatch", f"no row of word, start, end, score: {row[:60]!r}"))
            continue
        words.append(Word(cells[0], *(n for n in numbers if n is not None)))
    return tuple(words), problems + _time_problems(words)


def _time_problems(words: Sequence[Word]) -> list[tuple[str, str]]:
    last = Word("", 0.0, 0.0, 0.0)
    for word in words:
        finite = math.isfinite(word.start) and math.isfinite(word.end)
        if not finite or word.start < 0 or word.start > word.end:
            return [("words-times", f"{word.text[:30]!r}: {word.start:g} to {word.end:g} s")]
        if word.start < last.start or word.end < last.end:
            return [("words-times", f"{word.text[:30]!r} at {word.start:g} s comes after {last.start:g} s in the file")]
        last = word
    return []


def _word_problems(words: Sequence[Word], norm: str) -> list[tuple[str, str]]:
    spoken = normalise(" ".join(word.text for word in words)).split()
    wanted = norm.split()
    if spoken == wanted:
        return []
    at = next(
        (i for i, (a, b) in enumerate(zip(spoken, wanted, strict=False)) if a != b), min(len(spoken), len(wanted))
    )
    return [
        ("words-mismatch", f"{len(spoken)} words in the block, {len(wanted)} in the transcript; they part at {at + 1}")
    ]


def _track(lines: Sequence[str]) -> tuple[tuple[TrackRow, ...] | None, list[tuple[str, str]]]:
    rows = _rows(lines, _TRACK_HEADER)
    if rows is None:
        return None, []
    track, problems = [], []
    for row in rows:
        cells = row.split()
        frame, box = _integer(cells[0]), [_number(cell) for cell in cells[1:5]]
        if frame is None or len(box) < 4 or None in box:
            problems.append(("track-length", f"no row of frame, x, y, w, h: {row[:60]!r}"))
            continue
        track.append(TrackRow(frame, *(n for n in box if n is not None)))
    return tuple(track), problems[:1]


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _integer(cell: str | None) -> int | None:
    """An int32, or ``None`` for anything else."""
    try:
        value = int(cell or "")
    except ValueError:
        return None
    return value if -_INT32 <= value < _INT32 else None


def _unique(problems: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The first problem of each code."""
    first: dict[str, str] = {}
    for code, detail in problems:
        first.setdefault(code, detail)
    return tuple(first.items())
