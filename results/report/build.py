"""From a store to a folder of pages. :func:`build` is what ``bench report`` calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import bench
from bench.progress import Progress
from bench.results import leaderboard
from bench.results.labels import SHORT_HASH
from bench.results.published import blocks
from bench.results.report import assets, distributions, downloads, provenance
from bench.results.report.collect import View, definition, index, views
from bench.results.report.columns import RowScores, row_scores, score_files, text_files
from bench.results.report.comparisons import compare_file
from bench.results.report.data_script import script
from bench.results.report.details import detail_files
from bench.results.report.failed import counts, failures_file
from bench.results.report.folder import ReportFolder
from bench.results.report.media_files import Choice, Media
from bench.results.report.pages import Pages, board
from bench.results.report.private import clean, clean_text
from bench.results.report.references import references
from bench.results.report.said import RowTexts, row_texts
from bench.results.report.shelf import Shelf
from bench.results.table import Row, Table
from bench.store import Store
from bench.store_records import OutputRecord, RunRecord

TITLE = "Benchmark report"


@dataclass(frozen=True)
class Options:
    """``metrics``: as for the leaderboard; ``max_media``: bytes of ``media/``; ``data_root``: where recordings lie."""

    title: str = TITLE
    media: Choice = "copy"
    max_media: int | None = None
    data_root: Path | None = None
    metrics: Sequence[str] | str = "all"


@dataclass(frozen=True)
class Built:
    """What was made. ``notices``: what a reader of the screen should know, one sentence each."""

    bytes: int
    clips: int
    notices: Sequence[str]


@dataclass
class _Part:
    """One section while the report is made: what its pages and files share."""

    view: View
    scores: list[RowScores]
    texts: list[RowTexts]
    outputs: list[dict[str, OutputRecord]]
    media: Media


def build(store: Store, runs: Sequence[RunRecord], folder: Path, options: Options, progress: Progress) -> Built:
    """Make the report of ``runs`` in ``folder``, which is new, empty or an earlier report.

    Raises:
        UsageError: the folder holds something else; an unknown metric; media that cannot be linked.
        DataError: scores that no table can be made of.
    """
    target = ReportFolder(folder)
    table = without_places(leaderboard.build(store, runs, metrics=options.metrics))
    target.begin()
    shelf = None if options.media == "none" else Shelf(folder, options.media == "link", options.max_media)
    parts = [_part(store, view, shelf, options.data_root) for view in views(store, table)]
    texts = _write_data(store, target, parts, progress)
    facts = index([part.view for part in parts], options.title, bench.__version__, texts)
    for shown, part in zip(facts["sections"], parts, strict=True):
        shown |= {"no_media": part.media.no_media, "no_reference": part.media.no_reference}
    target.write("data/index.js", script("index", facts))
    notices = _notices(parts, shelf)
    _write_pages(target, parts, Pages(options.title, bench.__version__, facts, table), notices)
    _write_downloads(store, target, table, runs, parts, options)
    for name, content in assets.files():
        target.write(f"assets/{name}", content)
    if shelf is not None:
        target.add(shelf.names)
    return Built(target.finish(), sum(len(part.view.clips) for part in parts), notices)


def without_places(table: Table) -> Table:
    """The table without paths and names of this machine, which settings, notes and messages may hold."""
    sections = [
        replace(section, rows=_told_apart(section.rows), notes=[clean_text(note) for note in section.notes])
        for section in table.sections
    ]
    return Table(sections, [clean_text(note) for note in table.notes])


def _told_apart(rows: Sequence[Row]) -> list[Row]:
    """The rows cleaned; labels that only a path told apart get the beginnings of their runs' ids."""
    cleaned = [_cleaned(row) for row in rows]
    used = Counter(row.label for row in cleaned)
    return [
        row if used[row.label] == 1 else replace(row, label=f"{row.label} [run {row.run.id[:SHORT_HASH]}]")
        for row in cleaned
    ]


def _cleaned(row: Row) -> Row:
    cells = {key: replace(cell, problem=clean_text(cell.problem)) for key, cell in row.cells.items()}
    return replace(row, run=clean(row.run), label=clean_text(row.label), cells=cells)


def _part(store: Store, view: View, shelf: Shelf | None, data_root: Path | None) -> _Part:
    places = range(len(view.rows))
    outputs = [store.outputs(row.run.id) for row in view.rows]
    found = references(view.section.group, data_root)
    media = Media(shelf, store.root, replace(found, absent=clean_text(found.absent)))
    texts = [row_texts(store, view, place, outputs[place]) for place in places]
    for place, clip in enumerate(view.clips):  # what no recogniser was held against
        known = found.clips.get(clip.clip_id)
        if texts and known is not None and known.transcript:
            texts[0].said.setdefault(place, known.transcript)
    return _Part(view, [row_scores(store, view, place) for place in places], texts, outputs, media)


def _write_data(
    store: Store, target: ReportFolder, parts: Sequence[_Part], progress: Progress
) -> dict[tuple[str, int], list[str]]:
    """Every data file but the index; returns the files of texts by section and row."""
    names: dict[tuple[str, int], list[str]] = {}
    for part in parts:
        view = part.view
        said = {place: text for found in reversed(part.texts) for place, text in found.said.items()}
        for name, content in score_files(view, part.scores, said):
            target.write(f"data/{name}.js", script(name, content))
        for row, found in enumerate(part.texts):
            names[view.id, row] = []
            for name, content in text_files(view, row, found.heard):
                names[view.id, row].append(name)
                target.write(f"data/{name}.js", script(name, content))
        for name, content in chain([failures_file(view, part.texts)], _slow_files(store, part, progress)):
            target.write(f"data/{name}.js", script(name, content))
    return names


def _slow_files(store: Store, part: _Part, progress: Progress) -> Iterator[tuple[str, dict[str, Any]]]:
    """Details with their media, and comparisons of all pairs."""
    n = len(part.view.rows)
    with progress.stage(f"clips of {part.view.section.heading}", len(part.view.clips)) as bar:
        yield from detail_files(part.view, part.texts, part.outputs, part.media, bar.advance)
    if n > 1:
        with progress.stage(f"pairs of {part.view.section.heading}", n * (n - 1) // 2) as bar:
            yield compare_file(store, part.view, bar.advance)


def _notices(parts: Sequence[_Part], shelf: Shelf | None) -> list[str]:
    found = [] if shelf is None else [part.media.no_reference for part in parts]
    if shelf is not None and shelf.full:
        found.append("Media of the later clips are left out: --max-media is used up.")
    return [text for text in dict.fromkeys(found) if text]


def _write_pages(target: ReportFolder, parts: Sequence[_Part], pages: Pages, notices: Sequence[str]) -> None:
    shown = [part.view for part in parts]
    spreads = []
    for part in parts:
        definitions = [definition(column) for column in part.view.columns]
        spreads.append((part.view, distributions.distributions(part.view, part.scores, definitions)))
    target.write("index.html", pages.leaderboard([board(view) for view in shown], downloads.NAMES))
    for page in ("clips", "clip", "compare"):
        target.write(f"{page}.html", pages.render(page))
    spread = [(view, found) for view, found in spreads if found]
    names = distributions.QUANTILE_NAMES
    target.write("distributions.html", pages.render("distributions", sections=spread, quantile_names=names))
    failed = [(part.view, counts(part.view, part.texts)) for part in parts]
    target.write("failures.html", pages.render("failures", sections=failed))
    about = {
        "runs": [provenance.run_facts(view, place) for view in shown for place in range(len(view.rows))],
        "protocols": clean(provenance.protocol_facts(shown)),
        "datasets": provenance.dataset_facts(shown),
        "remarks": notices,
    }
    target.write("about.html", pages.render("about", **about))


def _write_downloads(
    store: Store,
    target: ReportFolder,
    table: Table,
    runs: Sequence[RunRecord],
    parts: Sequence[_Part],
    options: Options,
) -> None:
    for name, content in downloads.leaderboard_files(table, blocks(table)):
        target.write(f"download/{name}", content)
    target.write("download/run.json", downloads.runs_file(provenance.runs_json([part.view for part in parts])))
    downloads.write_scores(store, runs, options.metrics, target.root / "download" / "scores.parquet")
    target.add(["download/scores.parquet"])
