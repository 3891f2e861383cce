"""Any folder of videos: ``x.mp4`` with ``x.txt`` and ``x.wav`` beside it where there are any, or a manifest.

Without a manifest every ``.mp4`` below the root is a clip of split ``test``; its id is its path
without the suffix, its group the folder that it lies in. The text is plain words or has the head
of LRS files. With ``manifest.csv``, ``.tsv`` or ``.parquet`` at the root (or such a file given as
the root) its rows are the clips: see :mod:`bench.datasets.user_manifest` for the columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from bench.api import DataError
from bench.datasets.layout import Item, Rules, Scan, TreeDataset, on_disk

if TYPE_CHECKING:
    from bench.datasets.user_manifest import Row

_SUFFIXES = (".parquet", ".csv", ".tsv")


class ManifestDataset(TreeDataset):
    """A data set whose clips a user's manifest may list; the root may be that file itself."""

    manifest_names: ClassVar[tuple[str, ...]] = ("manifest",)
    refuses = frozenset({"name", "manifest"})

    def __init__(self, root: Path | None, cache: Path) -> None:
        super().__init__(root, cache)
        self._rows: tuple[tuple[Path, int], list[Row]] | None = None

    def is_manifest(self, file: Path) -> bool:
        """See :meth:`TreeDataset.is_manifest`."""
        return file.suffix in _SUFFIXES

    def candidates(self) -> list[Path]:
        """See :meth:`TreeDataset.candidates`; the folder of a manifest that is given as the root."""
        super().candidates()
        if self.root is not None and self.root.is_file():
            return [self.root.parent]
        return super().candidates()

    def has_manifest(self, folder: Path) -> bool:
        """Whether a manifest lies in ``folder`` or was given."""
        if self.root is not None and self.root.is_file():
            return self.is_manifest(self.root)
        return any((folder / f"{name}{suffix}").is_file() for name in self.manifest_names for suffix in _SUFFIXES)

    def manifest_rows(self, folder: Path) -> list[Row] | None:
        """The rows of the manifest; ``None`` without one.

        Raises:
            DataError: it cannot be read.
        """
        from bench.datasets.user_manifest import find_manifest, read_rows

        if not self.has_manifest(folder):
            return None
        given = self.root if self.root is not None and self.root.is_file() else None
        path = given or find_manifest(folder, self.manifest_names)
        if path is None:
            return None
        state = (path, path.stat().st_mtime_ns)
        if self._rows is None or self._rows[0] != state:
            self._rows = (state, read_rows(path))
        return self._rows[1]


class Folder(ManifestDataset):
    """Your own clips."""

    name = "folder"
    any_split = True
    summary = "any folder of x.mp4 with x.txt (and x.wav) beside it, or a CSV/Parquet manifest of clips"
    licence = "that of your files"
    layout = "a folder with .mp4 files below it, or manifest.csv / manifest.parquet with a column `path`"
    rules = Rules(need_audio=False)

    def candidates(self) -> list[Path]:
        """The given folder alone: nothing is called ``folder``."""
        return super().candidates()[-1:]

    def recognises(self, folder: Path) -> bool:
        """A manifest, or at least one video."""
        return self.has_manifest(folder) or next(_videos(folder), None) is not None

    def found_splits(self, root: Path) -> tuple[str, ...]:
        """Those of the manifest; ``test`` alone without one."""
        from bench.datasets.user_manifest import splits_of

        try:
            rows = self.manifest_rows(root)
        except DataError:  # told by scan, which every command calls
            return self.splits
        return splits_of(rows) if rows is not None else self.splits

    def scan(self, root: Path, split: str) -> Scan:
        """See :meth:`TreeDataset.scan`."""
        from bench.datasets.user_manifest import ItemMaker, checked_ids

        rows = self.manifest_rows(root)
        if rows is not None:
            return ItemMaker(root, by_time=False).scan(rows, split)
        return checked_ids([_item(root, path, split) for path in _videos(root)], [])


def _videos(folder: Path) -> Iterator[Path]:
    from bench.datasets.user_manifest import walk_files

    return (path for path in walk_files(folder) if path.suffix.lower() == ".mp4")


def _item(root: Path, path: Path, split: str) -> Item:
    from bench.datasets.ids import normal_form

    stem = path.relative_to(root).with_suffix("").as_posix()
    group = stem.rpartition("/")[0] or None
    return Item(
        clip_id=normal_form(stem),
        split=split,
        group=normal_form(group) if group else None,
        video=path.relative_to(root).as_posix(),
        text=on_disk(root, f"{stem}.txt"),
        audio=on_disk(root, f"{stem}.wav"),
    )
