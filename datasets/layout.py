"""What all data sets on the user's disk share: finding the root, scanning, index, clips.

A data set says how its tree looks (:meth:`TreeDataset.scan`) and what its media must be like
(:class:`Rules`); index, hashes and ``bench data check`` follow from these two.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from bench.api import CheckReport, Clip, DataError, Dataset, Issue, Progress, UsageError, did_you_mean
from bench.errors import NoDataError

if TYPE_CHECKING:
    from bench.datasets.manifest import ClipRow, Manifest

Crop = tuple[int, int, int, int]
_SHOWN = 10  # entries of an error message


@dataclass(frozen=True, slots=True)
class Item:
    """A clip as a layout names it. Paths are relative to the root; ``None``: no such file.

    ``listed``: a row of a user's manifest names the clip; ``transcript`` may come from there.
    ``problems`` are (code, detail) that the layout alone tells.
    """

    clip_id: str
    split: str
    group: str | None
    video: str | None = None
    text: str | None = None
    audio: str | None = None
    speaker: str | None = None
    tag: str | None = None
    listed: bool = False
    transcript: str | None = None
    start: float | None = None
    end: float | None = None
    crop: Crop | None = None
    extra: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Scan:
    """The items of one split, and what is wrong with the tree itself.

    ``complete`` is false where the split cannot be told from the tree (a list is missing).
    """

    items: Sequence[Item]
    issues: Sequence[Issue] = ()
    complete: bool = True


@dataclass(frozen=True)
class Rules:
    """What ``bench data check`` asks of a clip; ``None`` and ``False``: nothing.

    ``size`` (width, height); ``fps``; ``audio`` (Hz, channels); ``lrs_text``: text files have the
    form of LRS; ``need_text`` and ``need_audio``: their absence is an error.
    """

    size: tuple[int, int] | None = None
    fps: float | None = None
    audio: tuple[int, int] | None = None
    lrs_text: bool = False
    need_text: bool = False
    need_audio: bool = True


def on_disk(root: Path, relative: str) -> str | None:
    """``relative`` if that file exists under ``root``."""
    return relative if (root / relative).is_file() else None


def root_alias(root: Path) -> str:
    """The root for people to read, without the machine's paths: from ``$BENCH_DATA`` on, else its name."""
    base = os.environ.get("BENCH_DATA")
    if base:
        resolved, parent = root.resolve(), Path(base).resolve()
        if resolved == parent:
            return "$BENCH_DATA"
        if resolved.is_relative_to(parent):
            return f"$BENCH_DATA/{resolved.relative_to(parent).as_posix()}"
    return f".../{root.resolve().name}"


class TreeDataset(Dataset):
    """A data set of files under one root. Sub-classes say how their tree looks."""

    rules: ClassVar[Rules] = Rules()
    counts: ClassVar[Mapping[str, int]] = {}  # official clips per split
    layout: ClassVar[str] = ""  # the expected folders, for messages
    refuses: ClassVar[frozenset[str]] = frozenset()  # findings of a scan with which there are no clips

    def __init__(self, root: Path | None, cache: Path) -> None:
        super().__init__(root, cache)
        self._indexes: dict[str, Manifest] = {}

    @abstractmethod
    def recognises(self, folder: Path) -> bool:
        """Whether ``folder`` has this data set's layout."""

    @abstractmethod
    def scan(self, root: Path, split: str) -> Scan:
        """The clips of a split, in any order; reads folders and lists, no media.

        Raises:
            DataError: a list that cannot be read at all.
        """

    def tree_issues(self, root: Path, scans: Mapping[str, Scan]) -> list[Issue]:
        """Further findings over all scanned splits."""
        return []

    def found_splits(self, root: Path) -> tuple[str, ...]:
        """The splits that this copy can have."""
        return self.splits

    def candidates(self) -> list[Path]:
        """Where the root may be: the given folder, and the folder of the data set's name in it.

        Raises:
            NoDataError: no root was given, or it does not exist.
            UsageError: it is a file.
        """
        hint = f"give {self.name}'s folder or its parent with --data-root, or set BENCH_DATA. Expected: {self.layout}"
        if self.root is None:
            raise NoDataError(f"no data root for {self.name!r}", hint)
        if not self.root.exists():
            raise NoDataError(f"the data root {self.root} of {self.name!r} does not exist", hint)
        if not self.root.is_dir() and not self.is_manifest(self.root):
            raise UsageError(f"the data root {self.root} of {self.name!r} is a file", hint)
        return [self.root / self.name, self.root]

    def is_manifest(self, file: Path) -> bool:
        """Whether ``file`` may stand for the root."""
        return False

    def rules_for(self, split: str) -> Rules:
        """What the clips of a split must be like."""
        return self.rules

    def locate(self) -> Path:
        """The root of the tree.

        Raises:
            UsageError: no root was given, it does not exist, or nothing there has the layout.
        """
        tried = self.candidates()
        for folder in tried:
            if self.recognises(folder):
                return folder
        raise UsageError(
            f"no {self.name} data in " + " or ".join(str(folder) for folder in tried),
            f"--data-root or BENCH_DATA is {self.name}'s folder or its parent. Expected: {self.layout}",
        )

    def index(self, split: str, progress: Progress | None = None) -> tuple[Path, Manifest]:
        """The root and the index of a split, built or brought up to date on the first call.

        Raises:
            UsageError: no such root or split. DataError: ids that cannot be used, or no clips.
        """
        root = self.locate()
        known = self.found_splits(root)
        if split not in known:
            raise UsageError(f"{self.name} has no split {split!r}", did_you_mean(split, known))
        if split not in self._indexes:
            from bench.datasets.index import build_index

            scan = self.scan(root, split)
            self._refuse(scan, split)
            if not scan.items:
                reasons = "; ".join(f"{issue.code}: {issue.where} {issue.detail}" for issue in scan.issues[:3])
                raise DataError(
                    f"{self.name} has no clips of split {split!r} under {root}" + (f" ({reasons})" if reasons else ""),
                    f"`bench data check {self.name}` says what is missing. Expected: {self.layout}",
                )
            self._indexes[split] = build_index(self, root, split, scan.items, progress)
        return root, self._indexes[split]

    def _refuse(self, scan: Scan, split: str) -> None:
        found = [issue for issue in scan.issues if issue.code in self.refuses]
        if found:
            lines = [f"{issue.where}: {issue.detail}" for issue in found[:_SHOWN]]
            more = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
            noun = "entry" if len(found) == 1 else "entries"
            raise DataError(
                f"{self.name}, split {split!r}: {len(found)} {noun} cannot be used\n  " + "\n  ".join(lines + more),
                "rename the files, or mend the manifest: `bench data check` lists all.",
            )

    def clips(self, split: str, progress: Progress | None = None) -> list[Clip]:
        """See :meth:`Dataset.clips`. A clip whose file is missing is there without that stream."""
        from bench.datasets.manifest import clip_of

        root, manifest = self.index(split, progress)
        return [clip_of(row, root) for row in manifest.rows]

    def rows(self, split: str, progress: Progress | None = None) -> list[ClipRow]:
        """The rows of the index of a split."""
        return self.index(split, progress)[1].rows

    def content_sha256(self, split: str) -> str:
        """See :meth:`Dataset.content_sha256`."""
        return self.index(split)[1].header.content_sha256

    def check(
        self, split: str | None, pattern: str | None = None, fast: bool = False, progress: Progress | None = None
    ) -> CheckReport:
        """See :meth:`Dataset.check`.

        Raises:
            UsageError: no root, no such split, or a pattern that no clip matches.
        """
        from bench.datasets.check import check_tree

        return check_tree(self, split, pattern, fast, progress)


def subfolders(folder: Path) -> list[Path]:
    """The folders in ``folder``, sorted; those whose name begins with a dot are none. Empty without it."""
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith(".") and entry.is_dir())
    except OSError:
        return []


def stems(folder: Path, suffixes: Iterable[str] = (".mp4", ".txt")) -> dict[str, set[str]]:
    """Suffixes by stem of the files in ``folder``; names that begin with a dot are passed over."""
    wanted, found = set(suffixes), dict[str, set[str]]()
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return found
    for entry in entries:
        stem, suffix = os.path.splitext(entry.name)  # noqa: PTH122 - 100,000 names: three times as quick
        if suffix in wanted and not entry.name.startswith(".") and entry.is_file():
            found.setdefault(stem, set()).add(suffix)
    return found
