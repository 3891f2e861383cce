"""Which file of a folder belongs to which clip.

A clip ``test/s1/00007`` is matched by ``test/s1/00007.wav``, by its flattened forms
``test_s1_00007.wav`` and ``test__s1__00007.wav``, and by the same of a tail of its id
(``s1/00007.wav``, ``s1_00007.wav``, ``00007.wav``) where one clip alone has that tail. Leading
folders that all files of a kind share (``wavs/``) are left out of the comparison when the whole
path matches nothing. What could mean several clips, or several files for one clip, is
ambiguous: it is listed and not guessed. Names are compared in Unicode's composed form, because
file systems change it; otherwise exactly. Ids are only compared, never made into paths.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import DataError

VIDEO, AUDIO = frozenset({".mp4"}), frozenset({".wav", ".flac"})
JOINTS = ("/", "_", "__")


@dataclass(frozen=True, slots=True)
class Files:
    """The files of one clip."""

    video: Path | None = None
    audio: Path | None = None


@dataclass(frozen=True)
class Matching:
    """``matched`` and ``ambiguous`` by clip id. Names of files are relative to the folder, sorted.

    ``unmatched_files`` belong to no clip, or to several; ``unmatched_clips`` have no file;
    ``ambiguous``: the files between which no choice is made.
    """

    matched: dict[str, Files]
    unmatched_files: tuple[str, ...]
    unmatched_clips: tuple[str, ...]
    ambiguous: dict[str, tuple[str, ...]]

    def report(self, limit: int = 10) -> list[str]:
        """Lines for people: counts, and the first ``limit`` names of each kind that is left over."""
        lines = [f"{len(self.matched)} clips matched"]
        for what, names in (
            ("files without a clip", self.unmatched_files),
            ("clips without a file", self.unmatched_clips),
            ("ambiguous clips", [f"{clip!r}: {', '.join(files)}" for clip, files in self.ambiguous.items()]),
        ):
            if names:
                shown = [name if ": " in name else repr(name) for name in names[:limit]]
                more = [f"and {len(names) - limit} more"] if len(names) > limit else []
                lines.append(f"{len(names)} {what}: " + "; ".join(shown + more))
        return lines


def is_video(name: str) -> bool:
    """Whether a name has the extension of a video."""
    return Path(name).suffix.lower() in VIDEO


def media_files(folder: Path) -> list[str]:
    """Names of all media files under ``folder``, relative to it, with ``/``, sorted; hidden ones left out."""
    try:
        found = [path.relative_to(folder) for path in folder.rglob("*") if path.suffix.lower() in VIDEO | AUDIO]
        files = [path for path in found if not _is_hidden(path) and (folder / path).is_file()]
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error}", "check the permissions of the folder.") from error
    return sorted(path.as_posix() for path in files)


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def match(folder: Path, clip_ids: Sequence[str]) -> Matching:
    """Match the media files of ``folder`` to ``clip_ids``."""
    claims = _Claims(clip_ids)
    loose: list[str] = []
    for kind in (VIDEO, AUDIO):
        names = [name for name in media_files(folder) if Path(name).suffix.lower() in kind]
        shared = _shared_folders(names)
        for name in names:
            if not claims.claim(name, shared, kind is VIDEO):
                loose.append(name)
    return claims.settled(folder, loose)


def _shared_folders(names: Sequence[str]) -> int:
    """How many leading folders all ``names`` have in common."""
    folders = [name.split("/")[:-1] for name in names]
    if not folders:
        return 0
    depth = 0
    for parts in zip(*folders, strict=False):
        if len(set(parts)) > 1:
            break
        depth += 1
    return depth


def _forms(clip_id: str) -> Iterable[tuple[int, str]]:
    """(number of parts, written form) of an id and its tails."""
    parts = _normal(clip_id).split("/")
    for start in range(len(parts)):
        tail = parts[start:]
        for form in {joint.join(tail) for joint in JOINTS}:
            yield len(tail), form


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)


class _Claims:
    """Files that claim to be a clip's, with the number of id parts that agree."""

    def __init__(self, clip_ids: Sequence[str]) -> None:
        self._ids = list(clip_ids)
        self._by_form: dict[str, list[tuple[int, str]]] = defaultdict(list)
        for clip_id in self._ids:
            for size, form in _forms(clip_id):
                self._by_form[form].append((size, clip_id))
        self._found: dict[tuple[str, bool], list[tuple[int, str]]] = defaultdict(list)
        self._doubtful: dict[str, set[str]] = defaultdict(set)

    def claim(self, name: str, shared: int, video: bool) -> bool:
        """Give the file ``name`` to its clip; false where it has none, or several could be meant."""
        parts = _normal(name.rpartition(".")[0]).split("/")
        for start in range(shared + 1):
            hits = self._by_form.get("/".join(parts[start:]))
            if not hits:
                continue
            best = max(size for size, _ in hits)
            clips = sorted({clip_id for size, clip_id in hits if size == best})
            if len(clips) == 1:
                self._found[clips[0], video].append((best, name))
                return True
            for clip_id in clips:
                self._doubtful[clip_id].add(name)
            return False
        return False

    def settled(self, folder: Path, loose: list[str]) -> Matching:
        """The claim that agrees in most parts wins; equal ones are ambiguous."""
        chosen: dict[str, dict[bool, str]] = defaultdict(dict)
        ambiguous: dict[str, set[str]] = defaultdict(set)
        for (clip_id, video), claims in self._found.items():
            best = max(size for size, _ in claims)
            names = [name for size, name in claims if size == best]
            loose += [name for size, name in claims if size < best]
            if len(names) == 1:
                chosen[clip_id][video] = names[0]
            else:
                ambiguous[clip_id].update(names)
        for clip_id, doubtful in self._doubtful.items():
            if clip_id not in chosen:
                ambiguous[clip_id] |= doubtful
        matched = {
            clip_id: Files(*(folder / files[video] if video in files else None for video in (True, False)))
            for clip_id in self._ids
            if (files := chosen.get(clip_id)) and clip_id not in ambiguous
        }
        bare = [clip_id for clip_id in self._ids if clip_id not in matched and clip_id not in ambiguous]
        doubts = {clip_id: tuple(sorted(ambiguous[clip_id])) for clip_id in self._ids if clip_id in ambiguous}
        return Matching(matched, tuple(sorted(loose)), tuple(bare), doubts)
