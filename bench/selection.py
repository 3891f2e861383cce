"""Which clips of a split a command works on: ``--clips`` and ``--limit``.

A selection chooses units; it never changes how one is computed or cached, nor a run's id.
"""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Sequence
from pathlib import Path

from bench.errors import UsageError, did_you_mean
from bench.records import Clip


def select(clips: Sequence[Clip], pattern: str | None = None, limit: int | None = None) -> list[Clip]:
    """The chosen clips, sorted by id.

    ``pattern``: ids or globs, comma separated, or ``@FILE`` with one id per line. ``limit`` takes the
    first N in the order of SHA-256 of the id: a fixed sample spread over speakers, in which a
    larger limit contains every smaller one.

    Raises:
        UsageError: nothing matches, or an id of a file is unknown.
    """
    chosen = list(clips) if pattern is None else _matching(clips, pattern)
    if limit is not None:
        chosen = sorted(chosen, key=lambda clip: hashlib.sha256(clip.id.encode()).digest())[:limit]
    return sorted(chosen, key=lambda clip: clip.id.encode())


def _matching(clips: Sequence[Clip], pattern: str) -> list[Clip]:
    known = {clip.id: clip for clip in clips}
    if pattern.startswith("@"):
        return _from_file(known, Path(pattern[1:]))
    wanted = [part.strip() for part in pattern.split(",") if part.strip()]
    found: dict[str, Clip] = {}
    for part in wanted:
        ids = [part] if part in known else fnmatch.filter(known, part)
        if not ids:
            raise UsageError(f"--clips {part!r} matches none of {len(known)} clips", did_you_mean(part, known))
        found.update((clip_id, known[clip_id]) for clip_id in ids)
    if not found:
        raise UsageError("--clips is empty", "give ids, globs or @FILE.")
    return list(found.values())


def _from_file(known: dict[str, Clip], path: Path) -> list[Clip]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--clips @{path}: {error}", "a UTF-8 text file with one clip id per line.") from error
    ids = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    if not ids:
        raise UsageError(f"--clips @{path}: the file names no clip", "write one clip id per line.")
    unknown = [f"{path}:{number}: {clip_id!r}" for number, clip_id in ids if clip_id not in known]
    if unknown:
        first = next(clip_id for _, clip_id in ids if clip_id not in known)
        raise UsageError(
            f"{len(unknown)} unknown clip ids:\n  " + "\n  ".join(unknown[:10]), did_you_mean(first, known)
        )
    return [known[clip_id] for clip_id in dict.fromkeys(clip_id for _, clip_id in ids)]
