"""Slot accuracies and letter confusions as terminal table, Markdown or CSV."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from bench.api import UsageError, did_you_mean
from bench.metrics.wer import SLOTS
from bench.results.letters import KINDS, best_reader, classes
from bench.results.render_markup import markdown_text
from bench.results.slots import LETTER, PROTOCOL, SlotReport, chance
from bench.results.table import DASH
from bench.results.tidy import to_csv

FORMATS = ("table", "md", "csv")
COLUMNS = ("system", "run_id", "dataset", "split", "task", "what", "item", "count", "of", "share", "chance", "p")
PAIRS_SHOWN = 12  # confused letters of a run, in the readable formats; CSV has all


class Sheet(NamedTuple):
    """A table as text cells."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def render(reports: Sequence[SlotReport], to: str, width: int = 100) -> str:
    """Reports in one of :data:`FORMATS`.

    Raises:
        UsageError: an unknown format.
    """
    if to not in FORMATS:
        raise UsageError(f"--format {to!r} is unknown", did_you_mean(to, FORMATS))
    if to == "csv":
        return to_csv(COLUMNS, [row for report in reports for row in _records(report)])
    if to == "md":
        return _markdown(reports)
    buffer = io.StringIO()
    print_slots(Console(file=buffer, width=width, no_color=True, highlight=False), reports)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def print_slots(console: Console, reports: Sequence[SlotReport]) -> None:
    """Accuracies, then letters by class, then what must be known to read them."""
    for sheet in sheets(reports):
        table = RichTable(title=Text(sheet.title, style="bold"), title_justify="left")
        for number, name in enumerate(sheet.head):
            table.add_column(Text(name), justify="right" if number > 0 else "left", overflow="fold", vertical="top")
        for row in sheet.rows:
            table.add_row(*[Text(cell) for cell in row])
        console.print(table)
    for line in notes(reports):
        console.print(Text("  " + line, style="dim"))


def _markdown(reports: Sequence[SlotReport]) -> str:
    parts = []
    for sheet in sheets(reports):
        lines = [sheet.head, ["---", *["---:"] * (len(sheet.head) - 1)]]
        cells = [[markdown_text(cell) for cell in row] for row in sheet.rows]
        body = "\n".join("| " + " | ".join(row) + " |" for row in [*lines, *cells])
        parts.append(f"### {markdown_text(sheet.title)}\n\n{body}")
    parts.append("\n".join(f"- {markdown_text(line)}" for line in notes(reports)))
    return "\n\n".join(parts) + "\n"


def sheets(reports: Sequence[SlotReport]) -> list[Sheet]:
    """The two tables."""
    return [_accuracies(reports), _letters(reports)]


def _name(report: SlotReport) -> str:
    run = report.run
    return f"{report.label} · {run.dataset}/{run.split} · {run.task}"


def _accuracies(reports: Sequence[SlotReport]) -> Sheet:
    rows = [
        [
            _name(report),
            str(report.heard.sentences),
            *[f"{report.heard.accuracy(slot):.2f}" for slot in SLOTS],
            f"{report.heard.mean:.2f}",
            str(report.heard.unheard),
        ]
        for report in reports
    ]
    guess = [f"{chance(slot):.2f}" for slot in SLOTS]
    mean = f"{sum(map(chance, SLOTS)) / len(SLOTS):.2f}"
    head = ["run", "sentences", *SLOTS, "mean", "unheard"]
    return Sheet("Words heard right, by slot", head, [*rows, ["chance", "", *guess, mean, ""]])


def _letters(reports: Sequence[SlotReport]) -> Sheet:
    rows = []
    for report in reports:
        for split in report.heard.splits():
            share = DASH if split.share is None else f"{split.share:.2f}"
            more = f"{split.share / split.chance:.1f}" if split.share is not None and split.chance else DASH
            p = DASH if not split.errors else "<0.001" if split.p < 0.001 else f"{split.p:.3f}"
            counts = [str(split.errors), str(split.inside), str(split.between)]
            rows.append([_name(report), split.kind, *counts, share, f"{split.chance:.2f}", more, p])
    head = ["run", "class: same", "wrong", "inside", "between", "share inside", "chance", "times chance", "p"]
    return Sheet("Letters heard wrong, inside and between viseme classes", head, rows)


def notes(reports: Sequence[SlotReport]) -> list[str]:
    """Lines below the tables."""
    lines = [
        f"Words as {PROTOCOL} hears them, which itself confuses letters: the row of the truth shows how many.",
        "Unheard: no sentence was recognised; its words are wrong in the first table and not in the second.",
        "Chance: each wrong letter is any of the other 24. p: as many inside, or more, by chance (one-sided, exact).",
    ]
    for kind in KINDS:
        groups = " ".join("".join(group) for group in classes(kind) if len(group) > 1)
        lines.append(f"Letters with the same {kind}: {groups}; every other letter is alone.")
    for report in reports:
        lines += list(_of_report(report))
    return lines


def _of_report(report: SlotReport) -> Iterator[str]:
    heard = report.heard
    best = best_reader(said for (said, _), count in heard.letters.items() for _ in range(count))
    pairs = heard.confused()
    shown = ", ".join(f"{said}→{other} {count}" for said, other, count in pairs[:PAIRS_SHOWN])
    more = f", and {len(pairs) - PAIRS_SHOWN} more pairs" if len(pairs) > PAIRS_SHOWN else ""
    told = f"{_name(report)}: said→heard {shown}{more}" if pairs else f"{_name(report)}: no wrong letter"
    yield told + (f"; who sees all mouth shapes gets {best:.2f} of these letters" if best is not None else "")
    if heard.left_out:
        yield f"{_name(report)}: {heard.left_out} clips left out (no score, or not one sentence)"


def _records(report: SlotReport) -> Iterator[Mapping[str, object]]:
    run, heard = report.run, report.heard
    place = {"system": report.label, "run_id": run.id, "dataset": run.dataset, "split": run.split, "task": run.task}
    for slot in SLOTS:
        numbers = {"count": heard.right[slot], "of": heard.sentences, "share": heard.accuracy(slot)}
        yield {**place, "what": "accuracy", "item": slot, **numbers, "chance": chance(slot)}
    words = heard.sentences * len(SLOTS)
    yield {
        **place, "what": "accuracy", "item": "all", "count": sum(heard.right.values()), "of": words, "share": heard.mean
    }  # fmt: skip
    yield {**place, "what": "unheard", "item": "sentence", "count": heard.unheard, "of": heard.sentences}
    for split in heard.splits():
        numbers = {"count": split.inside, "of": split.errors, "chance": split.chance, "p": split.p}
        yield {**place, "what": "inside class", "item": split.kind, **numbers, "share": split.share}
    said = heard.sentences - heard.unheard
    for one, other, count in heard.confused():
        yield {**place, "what": f"{LETTER} heard wrong", "item": f"{one}>{other}", "count": count, "of": said}
