"""LRS3-TED: TED and TEDx talks, on the user's disk (specs/datasets.md section 2).

``<root>/{pretrain,trainval,test}/<YouTube id>/<5 digits>.mp4`` with a ``.txt`` beside each. The
group of a clip, and with it what counts as its speaker, is the YouTube id.
"""

from __future__ import annotations

import re
from pathlib import Path

from bench.api import Issue
from bench.datasets.layout import Item, Rules, Scan, TreeDataset, stems, subfolders

_NAME = re.compile(r"[A-Za-z0-9_-]{11}/[0-9]{5}")


def scan_folders(root: Path, relative: str, split: str, name: re.Pattern[str], prefix: str | None = None) -> Scan:
    """``<relative>/<group>/<clip>`` with ``.mp4`` and ``.txt``; clip ids are ``<prefix>/<group>/<clip>``.

    ``prefix`` is the split where it is not given.

    Files whose ``<group>/<clip>`` does not match ``name`` are no clips: they are listed as issues.
    """
    items, issues = [], []
    for folder in subfolders(root / relative):
        for stem, suffixes in stems(folder).items():
            key = f"{folder.name}/{stem}"
            if not name.fullmatch(key):
                issues.append(Issue("name", "error", f"{relative}/{key}", f"expected the form {name.pattern}"))
                continue
            items.append(pair_item(f"{prefix or split}/{key}", split, folder.name, f"{relative}/{key}", suffixes))
    return Scan(items, issues)


def pair_item(clip_id: str, split: str, group: str, stem: str, suffixes: set[str], tag: str | None = None) -> Item:
    """The item of ``<stem>.mp4`` and ``<stem>.txt``, of which those in ``suffixes`` exist."""
    problems = [(code, f"{stem}{suffix}") for suffix, code in _MISSING.items() if suffix not in suffixes]
    video = f"{stem}.mp4" if ".mp4" in suffixes else None
    text = f"{stem}.txt" if ".txt" in suffixes else None
    return Item(clip_id, split, group, video, text, tag=tag, problems=tuple(problems))


_MISSING = {".mp4": "missing-video", ".txt": "missing-text"}


class Lrs3(TreeDataset):
    """The three splits of LRS3 as they were released."""

    name = "lrs3"
    splits = ("pretrain", "trainval", "test")
    summary = "LRS3-TED: 151,819 clips of TED talks, 224x224 at 25 fps, with transcripts"
    licence = "videos: TED, CC BY-NC-ND 4.0. The official download has been withdrawn: bring your own copy"
    redistributable = False
    layout = "pretrain/, trainval/, test/ with <YouTube id>/<5 digits>.mp4 and .txt"
    rules = Rules(size=(224, 224), fps=25.0, audio=(16_000, 1), lrs_text=True, need_text=True)
    counts = {"pretrain": 118_516, "trainval": 31_982, "test": 1_321}

    def recognises(self, folder: Path) -> bool:
        """At least one of the three splits is there."""
        return any((folder / split).is_dir() for split in self.splits)

    def scan(self, root: Path, split: str) -> Scan:
        """See :meth:`TreeDataset.scan`."""
        return scan_folders(root, split, split, _NAME)
