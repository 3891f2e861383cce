"""The index of a split: one row per clip, as Parquet, as CSV for reading by hand, and a JSON header.

Rows are sorted by ``clip_id`` bytewise and written with fixed columns and settings, so that equal
content gives equal bytes. Columns are those of the fields of :class:`ClipRow`, in their order:
first the ones that every dataset has, then those of clips that are cut out of longer files or
have their audio in a file of its own.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api import FPS, Clip, DataError, Source
from bench.datasets.files import atomic_path

if TYPE_CHECKING:
    import pyarrow

SCHEMA = "bench-manifest-1"

#: Arrow type of each column that is no string; see :class:`ClipRow` for the meanings.
_TYPES = {
    "conf": "int32",
    "n_words": "int32",
    "n_frames": "int32",
    "fps": "float64",
    "width": "int32",
    "height": "int32",
    "n_samples": "int64",
    "sample_rate": "int32",
    "channels": "int32",
    "av_gap_frames": "float32",
    "dur_s": "float64",
    "bytes": "int64",
    "issues": "list",
    "start": "float64",
    "end": "float64",
    "crop": "list_int32",
    "n_grid": "int32",
    "details": "list",
}
_REPEATED = frozenset({"dataset", "split", "group", "speaker", "tag", "status", "extra"})
_NONE: Mapping[str, str] = {}  # shared, never written; plain, since clips are pickled


@dataclass(frozen=True, slots=True)
class ClipRow:
    """One clip of an index.

    ``n_frames``, ``fps``, ``width``, ``height`` are those of the decoded file; ``n_grid`` is the
    number of frames on the 25 fps grid, which is what a :class:`Clip` has. Of a clip that is cut
    out of a longer file (``start``, ``end``, ``crop``) all of them describe the cut, on the grid.
    ``n_samples``, ``sample_rate`` and ``channels`` describe the decoded audio stream, 0 without one.
    ``av_gap_frames`` is ``n_samples * fps / sample_rate - n_frames``. ``sha256`` is that of the video
    file, ``None`` where the file is missing or was not hashed; ``text_sha256`` that of the text file,
    or of the UTF-8 transcript where the user's manifest gives it. ``issues`` are codes of
    ``bench data check``, ``details`` their explanations in the same order; ``status`` is ``ok``,
    ``warn`` or ``bad``. ``extra`` is a JSON object of strings.
    """

    clip_id: str
    dataset: str
    split: str
    video_path: str | None
    text_path: str | None
    group: str | None
    speaker: str | None = None
    tag: str | None = None
    text_raw: str | None = None
    text_norm: str | None = None
    conf: int | None = None
    n_words: int = 0
    n_frames: int = 0
    fps: float = 0.0
    width: int = 0
    height: int = 0
    n_samples: int = 0
    sample_rate: int = 0
    channels: int = 0
    av_gap_frames: float = 0.0
    dur_s: float = 0.0
    bytes: int = 0
    sha256: str | None = None
    text_sha256: str | None = None
    status: str = "ok"
    issues: tuple[str, ...] = ()
    audio_path: str | None = None
    audio_sha256: str | None = None
    start: float | None = None
    end: float | None = None
    crop: tuple[int, int, int, int] | None = None
    n_grid: int = 0
    details: tuple[str, ...] = ()
    extra: str | None = None

    @property
    def cut(self) -> tuple[float | None, float | None, tuple[int, int, int, int] | None]:
        """The part of the file that is meant."""
        return self.start, self.end, self.crop


COLUMNS = tuple(f.name for f in fields(ClipRow))


@dataclass(frozen=True)
class Header:
    """What the JSON header says. ``root`` is an alias, never an absolute path."""

    dataset: str
    root: str
    splits: Mapping[str, int] = field(default_factory=dict)
    content_sha256: str = ""
    hashed: bool = True
    tools: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    schema: str = SCHEMA


@dataclass(frozen=True)
class Manifest:
    """An index that was read back."""

    header: Header
    rows: list[ClipRow]


def sort_rows(rows: Iterable[ClipRow]) -> list[ClipRow]:
    """Rows in order of the UTF-8 bytes of their ids."""
    return sorted(rows, key=lambda row: row.clip_id.encode("utf-8", "surrogatepass"))


def content_sha256(rows: Sequence[ClipRow]) -> str:
    """Hash of what the clips contain: over ``clip_id TAB sha256 TAB text_sha256 LF``, in order of ids.

    Clips with an audio file of their own, or cut out of a longer file, have these in the line too.
    """
    digest = hashlib.sha256()
    for row in sort_rows(rows):
        cells = [row.clip_id, row.sha256 or "", row.text_sha256 or ""]
        if row.audio_sha256 or row.cut != (None, None, None):
            cells += [row.audio_sha256 or "", json.dumps(row.cut)]
        digest.update(("\t".join(cells) + "\n").encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def clip_sha256(row: ClipRow) -> str:
    """Hash of one clip's content: video file and cut, audio file, text. Its place does not count."""
    parts = [row.sha256, row.cut, row.audio_sha256, row.text_sha256]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def clip_of(row: ClipRow, root: Path) -> Clip:
    """The :class:`Clip` of a row whose paths are relative to ``root``.

    A stream that the file does not have is ``None``; so are both where the file is missing.
    """
    path = None if row.video_path is None else root / row.video_path
    video = None if path is None or "no-video" in row.issues else Source(path, row.start, row.end, row.crop)
    audio: Source | None = None
    if row.audio_path is not None:
        audio = Source(root / row.audio_path, row.start, row.end)
    elif path is not None and "no-audio" not in row.issues:
        audio = Source(path, row.start, row.end) if video is None or row.crop else video
    return Clip(
        id=row.clip_id,
        dataset=row.dataset,
        split=row.split,
        video=video,
        audio=audio,
        transcript=row.text_norm,
        content_sha256=clip_sha256(row),
        n_frames=row.n_grid or (round(row.dur_s * FPS) if video is None else 0),
        speaker=row.speaker,
        group=row.group,
        tag=row.tag,
        width=row.width,
        height=row.height,
        extra=json.loads(row.extra) if row.extra else _NONE,
    )


def tool_versions() -> dict[str, str]:
    """Versions of PyAV and of the FFmpeg libraries in it: decoded counts depend on them."""
    import av

    versions = {"pyav": str(av.__version__)}
    for name, version in sorted(av.library_versions.items()):
        versions[name] = ".".join(str(part) for part in version)
    return versions


def make_header(dataset: str, root: str, rows: Sequence[ClipRow], hashed: bool = True, **extra: Any) -> Header:
    """The header of ``rows``, with counts, content hash and tool versions filled in."""
    splits: dict[str, int] = {}
    for row in rows:
        splits[row.split] = splits.get(row.split, 0) + 1
    counts = dict(sorted(splits.items()))
    return Header(dataset, root, counts, content_sha256(rows) if hashed else "", hashed, tool_versions(), extra)


def write_manifest(folder: Path, rows: Iterable[ClipRow], header: Header, name: str = "manifest") -> None:
    """Write ``<name>.parquet``, ``.csv`` and ``.json`` into ``folder``, each in one step.

    Raises:
        DataError: two rows have one id, or the folder cannot be written.
    """
    ordered = sort_rows(rows)
    for one, other in itertools.pairwise(ordered):
        if one.clip_id == other.clip_id:
            raise DataError(f"two rows of the index have the id {one.clip_id!r}", "give each clip an id of its own.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(folder / f"{name}.parquet") as path:
            _write_parquet(path, ordered)
        with atomic_path(folder / f"{name}.csv") as path:
            _write_csv(path, ordered)
        with atomic_path(folder / f"{name}.json") as path:
            path.write_text(_header_json(header), encoding="utf-8")
    except OSError as error:
        raise DataError(
            f"the index cannot be written to {folder}: {error}",
            "make room, mend it, or name another folder with BENCH_CACHE.",
        ) from error


def read_manifest(folder: Path, name: str = "manifest") -> Manifest:
    """Read what :func:`write_manifest` wrote.

    Raises:
        DataError: a file is missing, damaged, or of another schema.
    """
    import pyarrow
    import pyarrow.parquet as parquet

    hint = "delete it: it is built anew when it is needed."
    try:
        known = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        if known.get("schema") != SCHEMA:
            raise DataError(f"{folder / name}.json has schema {known.get('schema')!r}, expected {SCHEMA!r}", hint)
        table = parquet.read_table(folder / f"{name}.parquet", use_threads=False)
        if table.column_names != list(COLUMNS):
            raise DataError(f"{folder / name}.parquet has other columns than this version writes", hint)
        header = Header(**{f.name: known[f.name] for f in fields(Header)})
        return Manifest(header, _rows_of(table))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pyarrow.ArrowException) as error:
        raise DataError(f"the index {folder / name} cannot be read: {error}", hint) from error


def _header_json(header: Header) -> str:
    known = {f.name: getattr(header, f.name) for f in fields(header)}
    return json.dumps({"schema": known.pop("schema"), **known}, indent=1, ensure_ascii=False) + "\n"


def arrow_schema() -> pyarrow.Schema:
    """The columns of the Parquet file with their types."""
    import pyarrow as pa

    kinds = {
        "int32": pa.int32(),
        "int64": pa.int64(),
        "float32": pa.float32(),
        "float64": pa.float64(),
        "list": pa.list_(pa.string()),
        "list_int32": pa.list_(pa.int32()),
    }
    return pa.schema([(name, kinds[_TYPES[name]] if name in _TYPES else pa.string()) for name in COLUMNS])


def _write_parquet(path: Path, rows: Sequence[ClipRow]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    schema = arrow_schema()
    arrays = [pa.array([getattr(row, name) for row in rows], schema.field(name).type) for name in COLUMNS]
    parquet.write_table(
        pa.Table.from_arrays(arrays, schema=schema),
        path,
        compression="zstd",
        compression_level=3,
        write_statistics=False,
        store_schema=False,
        row_group_size=65536,
    )


def _rows_of(table: pyarrow.Table) -> list[ClipRow]:
    columns = []
    for name in COLUMNS:
        values = table.column(name).to_pylist()
        if _TYPES.get(name) in {"list", "list_int32"}:
            values = [None if v is None else tuple(v) for v in values]
        elif name in _REPEATED:  # one string object for all rows that have it: half the memory
            seen: dict[str, str] = {}
            values = [None if v is None else seen.setdefault(v, v) for v in values]
        columns.append(values)
    return [ClipRow(*cells) for cells in zip(*columns, strict=True)]


def _write_csv(path: Path, rows: Sequence[ClipRow]) -> None:
    with path.open("w", encoding="utf-8", errors="surrogatepass", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([_cell(getattr(row, name)) for name in COLUMNS] for row in rows)


def _cell(value: object) -> str:
    """The text of a CSV cell; text that a spreadsheet would run as a formula gets a leading quote."""
    if value is None:
        return ""
    if isinstance(value, tuple):
        return ";".join(str(part) for part in value)
    if isinstance(value, str):
        return "'" + value if value[:1] in tuple("=+-@\t\r") else value
    return repr(value) if isinstance(value, float) else str(value)
