"""Which clip gives audio, voice or face to which: cross pairs, lists of pairs, references.

Pairs of ``cross`` are a derangement of the whole split without any random generator: ids are
ordered by the SHA-256 of ``<pair seed>:<id>``, and each clip gets the audio of the clip that
comes k places later (specs/datasets.md 3.5).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UsageError, did_you_mean
from bench.records import Clip, Source

PAIR_SEED = 0  # of every `cross` pairing; a run's --seed does not change it
_SHOWN = 10  # errors of a file that are shown, of all that were found
_DIRECT = 1024  # groups up to this size are counted pair by pair, larger ones by a Fourier transform


@dataclass(frozen=True, slots=True)
class Shift:
    """``audio[i]`` is the index whose audio the video ``i`` gets; ``same_group`` pairs could not be avoided."""

    audio: tuple[int, ...]
    k: int
    same_group: int


@dataclass(frozen=True)
class Pairing:
    """``pairs`` of (video clip id, audio clip id), sorted by video id bytewise.

    ``same_speaker`` of them pair clips of one speaker. ``shift`` is 0 for a list of the user's.
    """

    pairs: tuple[tuple[str, str], ...]
    same_speaker: int = 0
    shift: int = 0

    @property
    def text(self) -> str:
        """The list as it is stored: ``video TAB audio LF``."""
        return "".join(f"{video}\t{audio}\n" for video, audio in self.pairs)

    @property
    def sha256(self) -> str:
        """SHA-256 of :attr:`text`: part of a run's id."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def derange(ids: Sequence[str], groups: Sequence[Hashable] | None = None, seed: int = PAIR_SEED) -> Shift:
    """Give each id the audio of another: the smallest shift of the hashed order that crosses groups.

    ``groups[i]`` is the speaker of ``ids[i]``; ``None`` is nobody's, and equal to no other. If every
    shift pairs some group with itself, the one with the fewest such pairs is taken, the smallest
    on ties. The result does not depend on the order of ``ids``.

    Raises:
        UsageError: fewer than two ids, or an id twice.
    """
    n = len(ids)
    if n < 2:
        raise UsageError(
            f"cross pairs need at least two clips, and the split has {n}", "choose another split, or --pairing matched."
        )
    if len(set(ids)) != n:
        raise UsageError("cross pairs need unique clip ids", "give each clip an id of its own.")
    order = sorted(range(n), key=lambda i: (hashlib.sha256(f"{seed}:{ids[i]}".encode()).hexdigest(), ids[i]))
    clashes = _clashes([groups[i] for i in order]) if groups is not None else [0] * n
    k = min(range(1, n), key=lambda shift: clashes[shift])
    audio = [0] * n
    for rank, video in enumerate(order):
        audio[video] = order[(rank + k) % n]
    return Shift(tuple(audio), k, clashes[k])


def _clashes(groups: Sequence[Hashable]) -> list[int]:
    """For each shift k the number of ranks i with ``groups[i] == groups[(i + k) % n]``.

    Counted group by group from the differences of their ranks: O(sum of squares of small
    groups), O(n log n) for each large one, where trying each shift would be O(n * n).
    """
    import numpy as np

    n = len(groups)
    ranks: dict[Hashable, list[int]] = {}
    for rank, group in enumerate(groups):
        if group is not None:
            ranks.setdefault(group, []).append(rank)
    counts = np.zeros(n, np.int64)
    for members in ranks.values():
        if len(members) <= _DIRECT:
            at = np.asarray(members)
            counts += np.bincount(((at[None, :] - at[:, None]) % n).ravel(), minlength=n) if len(members) > 1 else 0
        else:
            flags = np.zeros(n)
            flags[members] = 1.0
            spectrum = np.fft.rfft(flags)
            counts += np.rint(np.fft.irfft(np.abs(spectrum) ** 2, n)).astype(np.int64)
    return [int(count) for count in counts]


def derangement(clips: Sequence[Clip]) -> Pairing:
    """The ``cross`` pairs of a whole split; speakers are told by ``Clip.identity``."""
    ids = [clip.id for clip in clips]
    shift = derange(ids, [clip.identity for clip in clips])
    pairs = [(ids[video], ids[audio]) for video, audio in enumerate(shift.audio)]
    return Pairing(_sorted(pairs), shift.same_group, shift.k)


def _sorted(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(pairs, key=lambda pair: pair[0].encode()))


def read_pairs(path: str | Path, ids: Sequence[str]) -> Pairing:
    """A user's list of pairs: ``video id TAB audio id`` per line, for some or all clips of a split.

    Empty lines are skipped. An audio may serve several videos. The order of lines does not matter:
    the hash is that of the sorted list.

    Raises:
        UsageError: the file cannot be read, or has errors (the first ten with their lines).
    """
    known = set(ids)
    pairs: dict[str, str] = {}
    errors = _Errors()
    for number, line in _lines(Path(path), "--pairing"):
        cells = [cell.strip() for cell in line.split("\t")]
        if len(cells) != 2:
            errors.add(number, f"expected two ids with one tab between them, found {line[:80]!r}")
            continue
        for cell in dict.fromkeys(cells):
            if cell not in known:
                errors.unknown(number, cell, known)
        if cells[0] in pairs:
            errors.add(number, f"video {cells[0]!r} is listed twice")
        pairs[cells[0]] = cells[1]
    hint = (
        "each line is `video id TAB audio id`; the lists that Wav2Lip publishes have the audio first: swap the columns."
    )
    errors.refuse(f"--pairing {path}", hint, bool(pairs))
    return Pairing(_sorted(pairs.items()))


def other_references(clips: Sequence[Clip]) -> dict[str, Clip | None]:
    """For each clip the longest other clip of the same speaker, the first by id on ties, else ``None``.

    Clips without any media are nobody's reference.
    """
    by_speaker: dict[str, list[Clip]] = {}
    for clip in clips:
        if clip.identity is not None and clip.n_frames > 0:
            by_speaker.setdefault(clip.identity, []).append(clip)
    best = {
        speaker: sorted(own, key=lambda clip: (-clip.n_frames, clip.id.encode()))[:2]
        for speaker, own in by_speaker.items()
    }
    found: dict[str, Clip | None] = {}
    for clip in clips:
        others = [other for other in best.get(clip.identity or "", []) if other.id != clip.id]
        found[clip.id] = others[0] if others else None
    return found


def read_references(path: str | Path, ids: Sequence[str]) -> dict[str, Source]:
    """A user's references (``external``): ``clip id TAB file`` per line; files are relative to the list's folder.

    Raises:
        UsageError: the file cannot be read, or has errors (the first ten with their lines).
    """
    source, known = Path(path), set(ids)
    found: dict[str, Source] = {}
    errors = _Errors()
    for number, line in _lines(source, "references"):
        clip_id, _, name = (part.strip() for part in line.partition("\t"))
        if not name:
            errors.add(number, f"expected an id, a tab and a file, found {line[:80]!r}")
            continue
        file = source.parent / name
        if clip_id not in known:
            errors.unknown(number, clip_id, known)
        if clip_id in found:
            errors.add(number, f"clip {clip_id!r} is listed twice")
        if not _is_file(file):
            errors.add(number, f"no such file: {name!r}")
        found[clip_id] = Source(file)
    hint = "each line is `clip id TAB file`; files are relative to the folder of the list."
    errors.refuse(f"references {path}", hint, bool(found))
    return found


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a NUL byte, a name that is too long
        return False


def _lines(path: Path, what: str) -> list[tuple[int, str]]:
    """The numbered lines of a UTF-8 file that are not blank."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise UsageError(f"{what} {path}: {error}", "give a UTF-8 text file.") from error
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return [(number, line) for number, line in enumerate(lines, 1) if line.strip()]


class _Errors:
    """All that is wrong with a file, so that a user mends it once; the first ten are shown."""

    def __init__(self) -> None:
        self._shown: list[str] = []
        self._count = 0

    def add(self, line: int, text: str) -> None:
        self._count += 1
        if self._count <= _SHOWN:
            self._shown.append(f"line {line}: {text}")

    def unknown(self, line: int, clip_id: str, known: Collection[str]) -> None:
        near = did_you_mean(clip_id, known) if self._count < _SHOWN else ""  # a search over all ids is slow
        self.add(line, f"unknown clip {clip_id!r}; {near}")

    def refuse(self, what: str, hint: str, any_found: bool) -> None:
        """Raise if there were errors, or if the file named nothing."""
        if self._count:
            more = [f"and {self._count - _SHOWN} more"] if self._count > _SHOWN else []
            noun = "error" if self._count == 1 else "errors"
            raise UsageError(f"{what}: {self._count} {noun}\n  " + "\n  ".join(self._shown + more), hint)
        if not any_found:
            raise UsageError(f"{what}: the file names no clip", hint)
