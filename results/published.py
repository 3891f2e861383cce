"""Numbers that papers print: a block of their own beside measured ones, never ranked with them.

Facts from the papers' tables (:data:`FILES` in ``published/``, columns as their first line says).
Rates and similarities printed per cent or times 100 are converted to fractions. Which recipe a
paper used is known for few tables; everywhere else the protocol is ``<metric>/unspecified@0``.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import NamedTuple

from bench.api import Protocol, Value
from bench.results.table import GROUND_TRUTH, Table

FOLDER = Path(__file__).parent / "published"
#: What the project began with, and what its papers print beside it; the columns are the same.
FILES = ("published_results.csv", "more_results.csv")
TIER = "published"
BAND_SLACK = 0.1  # the band is widened by this share of its bounds

#: Our names of data sets -> those of the papers.
DATASETS: Mapping[str, str] = {"lrs2": "LRS2", "lrs3": "LRS3", "cinepile": "CinePile", "grid": "GRID", "hdtf": "HDTF"}
#: Our names of systems -> those of the papers. Others are compared without case, hyphens and spaces.
SYSTEMS: Mapping[str, str] = {GROUND_TRUTH: "Ground Truth"}

#: How often listeners preferred the first of two systems, neither, or the second.
VERDICTS = ("Win-rate", "Neutral-rate", "Loss-rate")
LISTED = "Related benchmarks"  # a listing of papers, not a paper: its numbers stand in the papers' own tables
LISTENING_REMARK = "other people, clips and questions than here: opinions compare inside one test alone"
#: Printed metric -> family of protocol ids.
FAMILIES: Mapping[str, str] = {
    "LSE-C": "lse",
    "LSE-D": "lse",
    "SIM": "spksim",
    "ID-SIM": "csim",
    "EmoAcc": "emoacc",
    "RMSE-F0": "f0rmse",
}

#: (source, metric) -> recipe, where a source is known to have used one (specs/metrics.md 11).
RECIPES: Mapping[tuple[str, str], str] = {
    ("seed-003", "WER"): "wer/whisper-large-v3@1",
    ("seed-003", "SECS"): "secs/resemblyzer@1",
    ("seed-003", "UTMOS"): "utmos/strong-learner@1",
    ("2604.15923", "WER"): "wer/hicodit-paper@0",
    ("2604.15923", "DNSMOS"): "dnsmos/unspecified@0",  # P.808 or P.835: not stated
    ("2604.15923", "UTMOS"): "utmos/strong-learner@1",
    ("2604.15923", "MCD"): "mcd/unspecified@0",
    ("2604.15923", "LSE-C"): "lse/unspecified@0",
    ("2604.15923", "LSE-D"): "lse/unspecified@0",
    ("2604.15923", "EmoAcc"): "emoacc/emotion2vec@0",
    ("2604.15923", "SIM"): "spksim/ecapa-tdnn-speechbrain@0",
    ("2604.23586", "WER"): "wer/qwen3-asr@0",
    ("2604.23586", "CER"): "cer/qwen3-asr@0",
    ("2604.23586", "UTMOS"): "utmos/strong-learner@1",
    ("2604.23586", "FVD"): "fvd/i3d-kinetics400@0",
    ("2604.23586", "DD"): "dd/phone-duration@0",
}


class Place(NamedTuple):
    """Where a number is printed."""

    source: str
    title: str
    year: str
    table: str
    setting: str


@dataclass(frozen=True)
class PublishedRow:
    """One printed number. ``value`` is a fraction for rates and similarities; ``printed`` is as in the paper."""

    place: Place
    task: str
    dataset: str
    split: str
    system: str
    metric: str
    protocol: str
    value: float
    printed: str
    unit: str
    direction: str
    uncertainty: str
    note: str


@dataclass(frozen=True)
class Spread:
    """The range over sources of one system's metric."""

    system: str
    metric: str
    low: float
    high: float
    sources: int
    unit: str


@dataclass(frozen=True)
class Block:
    """What papers print for a data set and task of a table. ``spreads``: over sources, of the table's own systems.

    With a ``title`` it is one table of one paper, in its order: ``remarks`` are warnings about it, ``twins`` our
    names of its systems.
    """

    dataset: str
    task: str
    rows: Sequence[PublishedRow]
    spreads: Sequence[Spread]
    title: str = ""
    remarks: Sequence[str] = ()
    twins: Mapping[str, str] = field(default_factory=dict)

    def named(self, system: str) -> str:
        """A printed name, with ours behind it where it is another."""
        ours = self.twins.get(system, system)
        return system if same_system(ours, system) else f"{system} = {ours}"


@dataclass(frozen=True)
class Band:
    """What papers measured on real clips, as fractions where the metric is a rate."""

    dataset: str
    metric: str
    low: float
    high: float
    sources: int

    def holds(self, value: float) -> bool:
        """Whether ``value`` lies in the band widened by :data:`BAND_SLACK` of its bounds."""
        return self.low - BAND_SLACK * abs(self.low) <= value <= self.high + BAND_SLACK * abs(self.high)


def family_of(metric: str) -> str:
    """The family of protocol ids that a printed metric belongs to."""
    return FAMILIES.get(metric, metric.lower())


def protocol_of(source: str, metric: str) -> str:
    """The recipe of a printed number, ``<metric>/unspecified@0`` where it is not known."""
    return RECIPES.get((source, metric), f"{family_of(metric)}/unspecified@0")


def to_fraction(printed: str, unit: str) -> tuple[float, str]:
    """Value and unit as the tidy formats have them: per cent and times-100 numbers divided by 100."""
    number = Decimal(printed)
    if unit in {"%", "x100"}:
        return float(number / 100), "fraction"
    return float(number), unit or "1"


@cache
def load() -> tuple[PublishedRow, ...]:
    """All rows of the files, in their order."""
    found: list[PublishedRow] = []
    for name in FILES:
        with (FOLDER / name).open(encoding="utf-8", newline="") as file:
            found += [_row(record) for record in csv.DictReader(file)]
    return tuple(found)


def _row(record: Mapping[str, str]) -> PublishedRow:
    value, unit = to_fraction(record["value"], record["unit"])
    return PublishedRow(
        place=Place(record["source_id"], record["title_short"], record["year"], record["table"], record["setting"]),
        task=record["task"],
        dataset=record["dataset"],
        split=record["split"],
        system=record["system"],
        metric=record["metric"],
        protocol=protocol_of(record["source_id"], record["metric"]),
        value=value,
        printed=record["value"] + ("%" if record["unit"] == "%" else ""),
        unit=unit,
        direction=record["direction"],
        uncertainty=record["uncertainty"],
        note=record["note"],
    )


def field_of(row: PublishedRow, field: str) -> str:
    """``source``, ``table``, ``setting`` or ``dataset`` of a row."""
    return row.dataset if field == "dataset" else str(getattr(row.place, field))


def task_of(row: PublishedRow) -> str:
    """The task of ``bench`` that a paper's row belongs to."""
    if row.task == "tts" and row.place.setting.startswith("dub"):
        return "dub"
    return {"tfg": "a2v", "lip2speech": "vts"}.get(row.task, row.task)


def blocks(table: Table) -> list[Block]:
    """One block for each data set and task of the table that papers have numbers for.

    Left out: ablations (for re-implementations of that one paper) and listening tests (comparable
    inside one paper only).
    """
    systems = {row.run.system for section in table.sections for row in section.rows}
    pairs = dict.fromkeys((section.group.dataset, section.group.task) for section in table.sections)
    found = []
    for dataset, task in pairs:
        name = DATASETS.get(dataset.lower(), dataset)
        rows = [row for row in load() if row.dataset == name and task_of(row) == task and _comparable(row)]
        if rows:
            ours = [row for row in rows if any(same_system(system, row.system) for system in systems)]
            found.append(Block(name, task, rows, spreads(ours)))
    return found + listening_blocks(table)


def listening_blocks(table: Table) -> list[Block]:
    """Beside a table in which people judged: every table of a paper's own listening test that names a system of it.

    Data sets do not matter: such tests are comparable inside themselves alone.
    """
    columns = [column for section in table.sections for column in section.columns]
    if not any(column.protocol.sampled for column in columns):
        return []
    tasks = {section.group.task for section in table.sections}
    ours = {row.run.system for section in table.sections for row in section.rows if not row.ground_truth}
    tables: dict[tuple[str, str, str], list[PublishedRow]] = {}
    for row in load():
        heard = row.metric.startswith(("MOS-", *VERDICTS)) and row.place.table != LISTED
        if heard and task_of(row) in tasks:
            tables.setdefault((row.place.source, row.place.table, row.dataset), []).append(row)
    return [
        Block(dataset, task_of(rows[0]), rows, [], _listening_title(rows[0]), [LISTENING_REMARK])
        for (_, _, dataset), rows in tables.items()
        if any(same_system(system, name) for row in rows for name in row.system.split(" vs ") for system in ours)
    ]


def _listening_title(row: PublishedRow) -> str:
    place = row.place
    return f"PUBLISHED listening test: {place.title} ({place.year}), {place.table}, {row.dataset}, {task_of(row)}"


def table_of(
    source: str, table: str, setting: str | None, title: str, twins: Mapping[str, str], dataset: str | None = None
) -> Block:
    """One table of one paper as it is printed, its inconsistencies as remarks; ``dataset``: its rows of that alone."""
    asked = {"source": source, "table": table, **({"setting": setting} if setting else {})}
    asked |= {"dataset": dataset} if dataset else {}
    rows = [row for row in load() if all(field_of(row, name) == value for name, value in asked.items())]
    datasets, tasks = (", ".join(dict.fromkeys(names)) for names in ([r.dataset for r in rows], map(task_of, rows)))
    return Block(datasets, tasks, rows, [], title, remarks(source, table, setting), twins)


def remarks(source: str, table: str, setting: str | None) -> list[str]:
    """What a reader of a paper's table must know (``published/remarks.csv``); no setting: those of all settings."""
    with (FOLDER / "remarks.csv").open(encoding="utf-8", newline="") as file:
        return [
            record["remark"]
            for record in csv.DictReader(file)
            if (record["source_id"], record["table"]) == (source, table)
            and (setting is None or record["setting"] in {"", setting})
        ]


def _comparable(row: PublishedRow) -> bool:
    return "ablation" not in row.place.setting and not row.metric.startswith(("MOS-", *VERDICTS))


def spreads(rows: Iterable[PublishedRow]) -> list[Spread]:
    """Smallest and largest value per system and metric, where more than one source prints it."""
    found: dict[tuple[str, str, str], list[PublishedRow]] = {}
    for row in rows:
        found.setdefault((row.system, row.metric, row.unit), []).append(row)
    return [
        Spread(system, metric, min(r.value for r in same), max(r.value for r in same), sources, unit)
        for (system, metric, unit), same in sorted(found.items())
        if (sources := len({row.place.source for row in same})) > 1
    ]


def same_system(ours: str, theirs: str) -> bool:
    """Whether a name of ours and a paper's mean one system."""
    return _plain(SYSTEMS.get(ours, ours)) == _plain(theirs)


def _plain(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


@cache
def bands() -> Mapping[tuple[str, str], Band]:
    """The bands of ground truth by data set and printed metric."""
    with (FOLDER / "bands.csv").open(encoding="utf-8", newline="") as file:
        records = list(csv.DictReader(file))
    return {
        (r["dataset"], r["metric"]): Band(
            r["dataset"], r["metric"], float(r["low"]), float(r["high"]), int(r["sources"])
        )
        for r in records
    }


def band_for(dataset: str, protocol: Protocol, value: Value) -> Band | None:
    """The band of a measured value: by label where papers print several values of a family, else by family.

    A protocol's first value is its headline; others (DNSMOS' SIG, …) have no band.
    """
    name = DATASETS.get(dataset.lower(), dataset)
    for (band_dataset, metric), band in bands().items():
        if band_dataset != name or family_of(metric) != protocol.family:
            continue
        if value.label == metric or (protocol.family == metric.lower() and value == protocol.values[0]):
            return band
    return None
