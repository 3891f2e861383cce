"""A user's own list of clips over media files: CSV, TSV or Parquet.

One row per clip. Columns (order does not matter; empty cells are as good as absent):

===============  ==================================================================================
``path``         the video, relative to the manifest's folder; also ``video``, ``video_path``, ``file``
``video_id``     in place of ``path``: the stem of a video file somewhere under that folder
``start, end``   seconds from the first frame; empty: from the beginning, to the end
``crop``         ``x,y,width,height`` in pixels of the source picture
``transcript``   the spoken words; also ``text``
``text_path``    in place of it: a text file, plain or with the head of LRS files
``audio``        a sound file in place of the video's own track; also ``audio_path``, ``wav``
``clip_id``      the id; by default made of the path (or ``video_id``) and the times; also ``id``
``split``        ``test`` where empty
``speaker``      who speaks; with ``film``, labels of two films are two people
``group, tag``   a coarser kinship than the speaker's (default: folder or video); a free label
``film, lang``   kept with the clip, as are all other columns
===============  ==================================================================================

A manifest that ``bench`` wrote (datasets.md section 7) is read too.
"""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from bench.api import DataError, Issue
from bench.datasets import ids
from bench.datasets.layout import Crop, Item, Scan
from bench.datasets.manifest import COLUMNS

SUFFIXES = (".parquet", ".csv", ".tsv")
VIDEO_SUFFIXES = frozenset({".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v", ".mpg", ".mpeg", ".ts", ".flv"})
DEFAULT_SPLIT = "test"
_CELL_LIMIT = 1 << 24  # characters of one cell
_ALIASES = {
    "path": ("path", "video", "video_path", "file"),
    "video_id": ("video_id",),
    "start": ("start",),
    "end": ("end",),
    "crop": ("crop",),
    "transcript": ("transcript", "text"),
    "text_path": ("text_path",),
    "audio": ("audio", "audio_path", "wav"),
    "clip_id": ("clip_id", "id"),
    "split": ("split",),
    "speaker": ("speaker",),
    "group": ("group",),
    "tag": ("tag",),
    "film": ("film",),
    "lang": ("lang",),
}
_KNOWN = frozenset(name for names in _ALIASES.values() for name in names)
_NONE: Mapping[str, str] = MappingProxyType({})
_OWN = frozenset(COLUMNS)  # of a manifest of ours: decoded facts, which are found anew


@dataclass(frozen=True, slots=True)
class Row:
    """A row as text, by canonical column name; ``where`` is ``file:line``. ``extra`` has the other columns."""

    where: str
    cells: Mapping[str, str]
    extra: Mapping[str, str] = field(default_factory=dict)

    def get(self, name: str) -> str:
        """The stripped cell, empty where absent."""
        return self.cells.get(name, "")


def find_manifest(folder: Path, names: Sequence[str] = ("manifest",)) -> Path | None:
    """``<name>.parquet``, ``.csv`` or ``.tsv`` in ``folder``.

    Raises:
        DataError: several of them, and they are not the pair that ``bench`` writes.
    """
    found = [path for name in names for suffix in SUFFIXES if (path := folder / f"{name}{suffix}").is_file()]
    if len(found) > 1 and not (folder / f"{found[0].stem}.json").is_file():
        raise DataError(
            "several manifests: " + ", ".join(path.name for path in found), "keep one, or give its path as --data-root."
        )
    return found[0] if found else None


def read_rows(path: Path) -> list[Row]:
    """All rows of a manifest.

    Raises:
        DataError: it cannot be read, has no rows, no column that names a video, or a misspelt one.
    """
    try:
        table = list(_parquet(path) if path.suffix == ".parquet" else _delimited(path))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"the manifest {path.name} cannot be read: {error}", "write UTF-8 CSV, or Parquet.") from error
    if not table:
        raise DataError(f"the manifest {path.name} has no rows", "one row per clip, below a line of column names.")
    columns = list(table[0][1])
    _check_columns(path, columns)
    present = {name: own for name, names in _ALIASES.items() if (own := [n for n in names if n in columns])}
    return [_row(f"{path.name}:{line}", cells, present) for line, cells in table]


def _delimited(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    previous = csv.field_size_limit(_CELL_LIMIT)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",", restkey="", restval="")
            for cells in reader:
                line = reader.line_num
                if "" in cells or None in cells:
                    raise ValueError(f"line {line} has more cells than there are columns")
                yield line, {name.strip(): value for name, value in cells.items()}
    finally:
        csv.field_size_limit(previous)


def _parquet(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        rows = parquet.read_table(path, use_threads=False).to_pylist()
    except pyarrow.ArrowException as error:
        raise ValueError(str(error)) from error
    for number, row in enumerate(rows, 1):
        yield number, {str(name): _text(value) for name, value in row.items()}


def _text(value: Any) -> str:
    """A Parquet value as the text that a CSV would have."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _check_columns(path: Path, columns: Sequence[str]) -> None:
    if not any(name in columns for name in (*_ALIASES["path"], "video_id")):
        raise DataError(
            f"the manifest {path.name} has no column that names the video: {', '.join(columns)[:200]}",
            "call it `path`, or `video_id` for the stem of a file.",
        )
    for name in columns:
        near = get_close_matches(name.lower(), sorted(_KNOWN - set(columns)), n=1, cutoff=0.8)
        if name not in _KNOWN | _OWN and near:
            raise DataError(
                f"the manifest {path.name} has an unknown column {name!r}", f"did you mean {near[0]!r}? Else rename it."
            )


def _row(where: str, cells: Mapping[str, str], present: Mapping[str, Sequence[str]]) -> Row:
    """``present``: which of its names each canonical column has in this file. Empty cells are left out."""
    known: dict[str, str] = {}
    for name, names in present.items():
        value = next((value for alias in names if (value := cells[alias].strip())), "")
        if value:
            known[name] = value
    if "transcript" not in known and "text_path" not in known and cells.get("text_raw", "").strip():
        known["transcript"] = cells["text_raw"].strip()
    extra = {name: value for name, value in cells.items() if value and name not in _KNOWN and name not in _OWN}
    extra.update({name: known[name] for name in ("film", "lang") if name in known})
    return Row(where, known, extra or _NONE)


def splits_of(rows: Sequence[Row]) -> tuple[str, ...]:
    """The splits that a manifest names, sorted."""
    return tuple(sorted({row.get("split") or DEFAULT_SPLIT for row in rows}))


class ItemMaker:
    """Makes items of a manifest's rows; ``by_time``: ids are ``<split>/<video id>/<times>``."""

    def __init__(self, root: Path, by_time: bool) -> None:
        self._root = root
        self._by_time = by_time
        self._by_stem: dict[str, list[str]] | None = None

    def scan(self, rows: Sequence[Row], split: str) -> Scan:
        """The items of a split; every wrong row and id is an issue."""
        items: list[Item] = []
        issues: list[Issue] = []
        for row in rows:
            if (row.get("split") or DEFAULT_SPLIT) != split:
                continue
            try:
                items.append(self._item(row, split))
            except ValueError as error:
                issues.append(Issue("manifest", "error", row.where, str(error)))
        return checked_ids(items, issues)

    def _item(self, row: Row, split: str) -> Item:
        """Raises ``ValueError`` that says what is wrong with the row."""
        start, end = _seconds(row, "start"), _seconds(row, "end")
        if start is not None and end is not None and end <= start:
            raise ValueError(f"end {end:g} is not after start {start:g}")
        crop = _crop(row.get("crop"))
        path, problems = self._video(row)
        name = row.get("video_id") or PurePosixPath(path).with_suffix("").as_posix()
        text = self._beside(row, path)
        if text is not None and not self._exists(text):
            problems.append(("missing-text", text))
            text = None
        audio = row.get("audio") or None
        if audio is not None and not self._exists(audio):
            raise ValueError(f"no such audio file: {audio}")
        return Item(
            clip_id=ids.normal_form(row.get("clip_id") or self._default_id(split, name, start, end, crop)),
            split=split,
            group=row.get("group") or row.get("film") or self._group(name),
            video=None if problems and problems[0][0] == "missing-video" else path,
            text=text,
            audio=audio,
            speaker=_speaker(row),
            tag=row.get("tag") or None,
            listed=True,
            transcript=row.get("transcript") or None,
            start=start,
            end=end,
            crop=crop,
            extra=row.extra,
            problems=tuple(problems),
        )

    def _video(self, row: Row) -> tuple[str, list[tuple[str, str]]]:
        path, video_id = row.get("path"), row.get("video_id")
        if path:
            return path, [] if self._exists(path) else [("missing-video", path)]
        if not video_id:
            raise ValueError("neither `path` nor `video_id`")
        found = self._stems().get(video_id, [])
        if len(found) > 1:
            raise ValueError(f"several files have the stem {video_id!r}: {', '.join(found[:3])}; give `path`")
        return (found[0], []) if found else (video_id, [("missing-video", f"no video file with the stem {video_id!r}")])

    def _beside(self, row: Row, path: str) -> str | None:
        """The text file of a row: the one that it names, else (of an uncut video) the one beside the video."""
        if row.get("transcript"):
            return None
        if row.get("text_path"):
            return row.get("text_path")
        beside = PurePosixPath(path).with_suffix(".txt").as_posix()
        whole = not row.get("start") and not row.get("end")
        return beside if whole and self._exists(beside) else None

    def _exists(self, relative: str) -> bool:
        try:
            return (self._root / relative).is_file()
        except (OSError, ValueError):
            return False

    def _stems(self) -> dict[str, list[str]]:
        if self._by_stem is None:
            self._by_stem = {}
            for path in walk_files(self._root):
                if path.suffix.lower() in VIDEO_SUFFIXES:
                    self._by_stem.setdefault(path.stem, []).append(path.relative_to(self._root).as_posix())
        return self._by_stem

    def _default_id(self, split: str, name: str, start: float | None, end: float | None, crop: Crop | None) -> str:
        if self._by_time:
            return f"{split}/{PurePosixPath(name).name}/{cut_name(start, end, crop) or 'whole'}"
        cut = cut_name(start, end, crop)
        stem = PurePosixPath(name).name if PurePosixPath(name).is_absolute() else name
        return f"{stem}/{cut}" if cut else stem

    def _group(self, name: str) -> str | None:
        path = PurePosixPath(name)
        if self._by_time:
            return path.name
        return None if path.parent == PurePosixPath() else path.parent.as_posix()


def cut_name(start: float | None, end: float | None, crop: Crop | None) -> str:
    """A name for a part of a video: milliseconds, then the crop; empty for all of it."""
    name = ""
    if start is not None or end is not None:
        last = f"{round(end * 1000):08d}" if end is not None else "end"
        name = f"{round((start or 0.0) * 1000):08d}-{last}"
    if crop is not None:
        name += ("-" if name else "") + "crop" + "-".join(map(str, crop))
    return name


def checked_ids(items: Sequence[Item], issues: Sequence[Issue]) -> Scan:
    """The items with usable ids; the others as issues."""
    bad = ids.problems(item.clip_id for item in items)
    names = [Issue("name", "error", ids.printable(clip_id), reason) for clip_id, reason in bad]
    refused = {clip_id for clip_id, _ in bad}
    return Scan([item for item in items if item.clip_id not in refused], [*issues, *names])


def walk_files(folder: Path) -> Iterator[Path]:
    """All files below ``folder``, sorted within each folder; hidden ones are passed over, links followed once."""
    seen: set[tuple[int, int]] = set()
    for top, folders, files in os.walk(folder, followlinks=True):
        known = os.stat(top)  # noqa: PTH116 - os.walk gives text
        if (known.st_dev, known.st_ino) in seen:
            folders.clear()
            continue
        seen.add((known.st_dev, known.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                yield Path(top, name)


def _seconds(row: Row, name: str) -> float | None:
    text = row.get(name)
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} is {text!r}: expected seconds, 0 or more")
    return value


def _crop(text: str) -> Crop | None:
    if not text:
        return None
    parts = [part for part in re.split(r"[\s,;]+", text.strip("[]() ")) if part]
    try:
        x, y, width, height = (int(part) for part in parts)
    except ValueError:
        raise ValueError(f"crop is {text!r}: expected x,y,width,height in whole pixels") from None
    if x < 0 or y < 0 or width <= 0 or height <= 0:
        raise ValueError(f"crop is {text!r}: x and y are 0 or more, width and height 1 or more")
    return x, y, width, height


def _speaker(row: Row) -> str | None:
    speaker, film = row.get("speaker"), row.get("film")
    return (f"{film}/{speaker}" if film else speaker) if speaker else None
