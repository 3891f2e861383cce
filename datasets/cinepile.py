"""CinePile: talking faces of film clips that the user has (specs/datasets.md section 5).

Two kinds of input, both under one root. Split ``test``: a manifest (``manifest.csv``, ``cinepile.csv``,
or the same as ``.parquet``) with ``video_id``, ``start``, ``end`` and where known ``transcript``, ``crop``,
``path``, ``speaker``, ``film``, ``lang``; each row is cut out of the user's video by its times and
crop. Split ``oodface-v1``: a tree of finished clips in the layout of LRS3,
``oodface-v1/test/<source id>/<5 digits>.mp4`` with ``.txt``, whose heads also have ``Start``, ``End``,
``Speaker`` and ``Film``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

from bench.api import DataError
from bench.datasets.folder import ManifestDataset
from bench.datasets.layout import Rules, Scan
from bench.datasets.lrs3 import Lrs3, scan_folders

SELECTION = "oodface-v1"
_NAME = re.compile(r"[A-Za-z0-9_-]+/[0-9]{5}", re.ASCII)


class CinePile(ManifestDataset):
    """Cuts of films by a manifest, or finished clips of the documented selection."""

    name = "cinepile"
    any_split = True
    splits = ("test", SELECTION)
    summary = "CinePile: utterances cut out of film clips that you have, by a manifest of times and crops"
    licence = "annotations: see the data set's card; films are under copyright: bring your own, show no frames"
    redistributable = False
    layout = (
        "manifest.csv (video_id,start,end[,transcript,crop,path,speaker,film,lang]) beside the videos, "
        f"or {SELECTION}/test/<source id>/<5 digits>.mp4 and .txt"
    )
    notes: ClassVar[str] = (
        "The subset of CinePile on which papers report (HiCoDiT: 160 utterances of 56 speakers) is not distributed: "
        "its ids, cuts and crops are unpublished, so nobody can rebuild it, and results here are never put in one "
        f"column with those. This project documents a selection of its own, cinepile/{SELECTION} (--split "
        f"{SELECTION}): faces of at least 100 px tracked over 50 frames, in sync by SyncNet, 1-10 s of one English "
        "speaker, at most 4 utterances per speaker. No media are downloaded: bring the videos and a manifest."
    )
    manifest_names = ("manifest", "cinepile")
    rules = Rules(need_text=False)

    def recognises(self, folder: Path) -> bool:
        """A manifest, or the tree of the selection."""
        return self.has_manifest(folder) or (folder / SELECTION / "test").is_dir()

    def found_splits(self, root: Path) -> tuple[str, ...]:
        """Those of the manifest (``test`` where it names none), and the selection where its tree is there."""
        from bench.datasets.user_manifest import splits_of

        try:
            rows = self.manifest_rows(root)
        except DataError:  # told by scan, which every command calls
            return self.splits[:1]
        tree = (SELECTION,) if (root / SELECTION / "test").is_dir() else ()
        return (splits_of(rows) if rows is not None else ()) + tree

    def rules_for(self, split: str) -> Rules:
        """Finished clips are like those of LRS3; films may have any size and rate."""
        return Lrs3.rules if split == SELECTION else self.rules

    def scan(self, root: Path, split: str) -> Scan:
        """See :meth:`TreeDataset.scan`."""
        from bench.datasets.user_manifest import ItemMaker

        if split == SELECTION:
            return scan_folders(root, f"{SELECTION}/test", split, _NAME, prefix="test")
        return ItemMaker(root, by_time=True).scan(self.manifest_rows(root) or [], split)
