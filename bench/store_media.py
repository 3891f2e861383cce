"""The store's folder of media: files come in by rename, whole or not at all.

``media/<run>/<clip>.<ext>`` are finished files; ``tmp/stage-*`` are folders of unfinished ones on
the same file system, removed when the store is next opened for writing.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path

MEDIA = "media"
TEMPORARY = "tmp"
_STAGE = "stage-"
_READABLE_BYTES = 120  # of a file name's 255; the hash and the ending come after


def safe_name(clip_id: str) -> str:
    """A file name for a clip id: its letters and digits as they are, ``_`` for the rest, then a hash.

    The hash makes names of different ids differ on file systems that fold case or Unicode forms.
    """
    digest = hashlib.sha256(clip_id.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    text = unicodedata.normalize("NFC", clip_id)
    readable = re.sub(r"[^\w.-]+", "_", text).strip("._-")
    readable = readable.encode("utf-8", "ignore")[:_READABLE_BYTES].decode("utf-8", "ignore")
    return f"{readable}.{digest}" if readable else digest


def sync_folder(folder: Path) -> None:
    """Make renames inside ``folder`` outlast a power cut."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def move_in(source: Path, target: Path) -> None:
    """``source`` synced to disk and renamed to ``target``; copied first if it lies on another file system.

    Raises:
        OSError: disk full, read-only, …; ``target`` is then as it was.
    """
    if source.stat().st_dev != target.parent.stat().st_dev:
        near = target.with_name(target.name + ".part")
        try:
            shutil.copyfile(source, near)
            move_in(near, target)
        finally:
            near.unlink(missing_ok=True)
        source.unlink()
        return
    with source.open("rb+") as file:
        os.fsync(file.fileno())
    source.replace(target)


class MediaFolder:
    """Media of one store; ``root`` is the store's folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._stage: Path | None = None

    def create(self) -> None:
        """Make the two folders where they are missing."""
        (self.root / MEDIA).mkdir(exist_ok=True)
        (self.root / TEMPORARY).mkdir(exist_ok=True)

    def clear_stages(self) -> None:
        """Remove what earlier writers left unfinished."""
        for left in (self.root / TEMPORARY).glob(_STAGE + "*"):
            shutil.rmtree(left, ignore_errors=True)  # a worker of a killed run may still be writing there

    def stage(self) -> Path:
        """This writer's own folder for unfinished files."""
        if self._stage is None or not self._stage.is_dir():
            self._stage = Path(tempfile.mkdtemp(prefix=_STAGE, dir=self.root / TEMPORARY))
        return self._stage

    def close(self) -> None:
        """Remove the own stage."""
        if self._stage is not None:
            shutil.rmtree(self._stage, ignore_errors=True)
            self._stage = None

    def folder(self, name: str) -> Path:
        """Where the media of the run with that folder name lie."""
        return self.root / MEDIA / name

    def place(self, source: Path, run_folder: str, clip_id: str, mark: str = "") -> str:
        """Move a finished file in; returns its path relative to the store. ``mark`` sets a second version apart."""
        folder = self.folder(run_folder)
        folder.mkdir(parents=True, exist_ok=True)
        name = safe_name(clip_id) + (f".{mark}" if mark else "") + source.suffix
        move_in(source, folder / name)
        return f"{MEDIA}/{run_folder}/{name}"

    def settle(self, run_folder: str) -> None:
        """Sync the folder of a run after files were placed."""
        sync_folder(self.folder(run_folder))

    def remove_run(self, run_folder: str) -> int:
        """Remove all media of a run; returns the freed bytes."""
        folder = self.folder(run_folder)
        freed = sum(size for _, size in _files(folder))
        if folder.is_dir():
            shutil.rmtree(folder)
        return freed

    def orphans(self, known: set[str]) -> list[tuple[str, int]]:
        """Media files, with sizes, whose path relative to the store is not in ``known``; sorted."""
        found = ((path.relative_to(self.root).as_posix(), size) for path, size in _files(self.root / MEDIA))
        return sorted((name, size) for name, size in found if name not in known)

    def remove(self, names: list[str]) -> None:
        """Remove files (paths relative to the store), and run folders that are empty then."""
        for name in names:
            (self.root / name).unlink(missing_ok=True)
        for folder in (self.root / MEDIA).iterdir():
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def _files(folder: Path) -> Iterator[tuple[Path, int]]:
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield path, path.stat().st_size
