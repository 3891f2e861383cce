"""LRS2-BBC: sentences of BBC television, on the user's disk (specs/datasets.md section 3).

``<root>/mvlrs_v1/{main,pretrain}/<programme id>/<5 digits>.mp4`` with a ``.txt`` beside each; the
lists ``pretrain.txt``, ``train.txt``, ``val.txt``, ``test.txt`` lie beside ``mvlrs_v1`` or in it.
Train, val and test all lie in ``main``: only the lists tell the split.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from bench.api import Issue
from bench.datasets.layout import Item, Rules, Scan, TreeDataset, stems, subfolders
from bench.datasets.lrs3 import pair_item

_NAME = re.compile(r"[0-9]+/[0-9]{5}", re.ASCII)
_FOLDER = "mvlrs_v1"


class Lrs2(TreeDataset):
    """The four splits of LRS2, as its lists name them. Programme ids are text, never numbers."""

    name = "lrs2"
    splits = ("pretrain", "train", "val", "test")
    summary = "LRS2-BBC: 144,482 clips of BBC programmes, 160x160 at 25 fps, with transcripts"
    licence = "agreement with the BBC; academic research only; no copies to others"
    redistributable = False
    notice = "LRS2 is BBC material under your organisation's agreement; do not publish frames or audio"
    layout = (
        "mvlrs_v1/{main,pretrain}/<programme id>/<5 digits>.mp4 and .txt; pretrain.txt, train.txt, val.txt, test.txt"
    )
    rules = Rules(size=(160, 160), fps=25.0, audio=(16_000, 1), lrs_text=True, need_text=True)
    counts = {"pretrain": 96_318, "train": 45_839, "val": 1_082, "test": 1_243}
    speakers_known = False  # groups are programmes: several people, and people in several programmes

    def recognises(self, folder: Path) -> bool:
        """``mvlrs_v1`` with one of its folders is there, or the folder is ``mvlrs_v1`` itself."""
        return any((base / part).is_dir() for base in (folder / _FOLDER, folder) for part in ("main", "pretrain"))

    def scan(self, root: Path, split: str) -> Scan:
        """See :meth:`TreeDataset.scan`: one item per line of the split's list."""
        media = _media_folder(root)
        path = _list_path(root, media, split)
        if path is None:
            tried = ", ".join(
                dict.fromkeys(_shown(root, place / f"{split}.txt") for place in _list_places(root, media))
            )
            return Scan([], [Issue("list-missing", "error", split, f"looked for {tried}")], complete=False)
        folder = media / ("pretrain" if split == "pretrain" else "main")
        present: dict[str, dict[str, set[str]]] = {}
        items: dict[str, Item] = {}
        issues = []
        for number, key, tag in _read_list(path):
            if not _NAME.fullmatch(key):
                issues.append(
                    Issue("name", "error", f"{path.name}:{number}", f"{key[:80]!r}, expected <digits>/<5 digits>")
                )
                continue
            group, stem = key.split("/")
            if group not in present:
                present[group] = stems(folder / group)
            clip_id = f"{folder.name}/{key}"
            place = f"{folder.relative_to(root).as_posix()}/{key}"
            items[clip_id] = pair_item(clip_id, split, group, place, present[group].get(stem, set()), tag)
        return Scan(list(items.values()), issues)

    def tree_issues(self, root: Path, scans: Mapping[str, Scan]) -> list[Issue]:
        """Clips in ``main`` that no list names; only told when all its lists are there."""
        lists = {split: scans.get(split) or self.scan(root, split) for split in ("train", "val", "test")}
        if not all(scan.complete for scan in lists.values()):
            return []
        named = {item.clip_id for scan in lists.values() for item in scan.items}
        issues = []
        for folder in subfolders(_media_folder(root) / "main"):
            for stem in sorted(stems(folder, [".mp4"])):
                clip_id = f"main/{folder.name}/{stem}"
                if not _NAME.fullmatch(f"{folder.name}/{stem}"):
                    issues.append(Issue("name", "error", clip_id, "expected <digits>/<5 digits>"))
                elif clip_id not in named:
                    issues.append(Issue("orphan", "info", clip_id, "no list names it"))
        return issues


def _media_folder(root: Path) -> Path:
    return root / _FOLDER if (root / _FOLDER).is_dir() else root


def _list_places(root: Path, media: Path) -> list[Path]:
    """Where lists may lie: beside the folder of the media, or in it."""
    beside = [root.parent] if media == root and root.name == _FOLDER else []
    return [root, media, *beside]


def _list_path(root: Path, media: Path, split: str) -> Path | None:
    places = (place / f"{split}.txt" for place in _list_places(root, media))
    return next((path for path in places if path.is_file()), None)


def _shown(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else f"../{path.name}"


def _read_list(path: Path) -> list[tuple[int, str, str | None]]:
    """Line number, clip and tag (the second column of ``test.txt``) of each line that is not empty."""
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        cells = line.split()
        if cells:
            rows.append((number, cells[0], cells[1] if len(cells) > 1 else None))
    return rows
