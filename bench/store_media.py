"""The store's folder of media: files come in by rename, whole or not at all.

``media/<run>/<clip>.<ext>`` are finished files; ``tmp/stage-*`` are folders of unfinished ones on
the same file system, removed when the store is next opened for writing.

With a media root, a folder that stores and machines may share, the files themselves are there by
their content, ``<root>/<aa>/<sha256>.<ext>``, each once, and the store's names are symbolic links to
them. The unfinished ones lie there too, for the workers of other machines to write, and so do the
features of media. A store never removes a file from a media root: another store may need it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
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


def keep_by_content(source: Path, common: Path) -> Path:
    """Move a finished file to its place in a media root; gone where the root has its content already."""
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    target = common / digest[:2] / (digest + source.suffix)
    if target.is_file():
        source.unlink()
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    move_in(source, target)
    sync_folder(target.parent)
    return target


def link(name: Path, target: Path) -> None:
    """Make ``name`` a symbolic link to ``target``, whatever it was before, at once."""
    near = name.with_name(name.name + ".part")
    near.unlink(missing_ok=True)
    near.symlink_to(target)
    near.replace(name)


class MediaFolder:
    """Media of one store; ``root`` is the store's folder, ``common`` the media root of new files, if any."""

    def __init__(self, root: Path, common: Path | None = None) -> None:
        self.root = root
        self._common = None if common is None else common.absolute()
        self._stage: Path | None = None

    @property
    def _temporary(self) -> Path:
        """Where stages are made: of a media root, in a folder of this store's, which others do not clear."""
        if self._common is None:
            return self.root / TEMPORARY
        mark = hashlib.sha256(f"{socket.gethostname()}:{self.root.resolve()}".encode()).hexdigest()[:16]
        return self._common / TEMPORARY / mark

    def create(self) -> None:
        """Make the folders where they are missing."""
        (self.root / MEDIA).mkdir(exist_ok=True)
        (self.root / TEMPORARY).mkdir(exist_ok=True)
        self._temporary.mkdir(parents=True, exist_ok=True)

    def clear_stages(self) -> None:
        """Remove what earlier writers left unfinished."""
        for folder in {self.root / TEMPORARY, self._temporary}:
            for left in folder.glob(_STAGE + "*"):
                shutil.rmtree(left, ignore_errors=True)  # a worker of a killed run may still be writing there

    def stage(self) -> Path:
        """This writer's own folder for unfinished files."""
        if self._stage is None or not self._stage.is_dir():
            self._stage = Path(tempfile.mkdtemp(prefix=_STAGE, dir=self._temporary))
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
        if self._common is None:
            move_in(source, folder / name)
        else:
            link(folder / name, keep_by_content(source, self._common))
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
    """Files and links to files of a media root, with the bytes that removing them frees."""
    for path in folder.rglob("*"):
        if path.is_symlink() or path.is_file():
            yield path, path.lstat().st_size
