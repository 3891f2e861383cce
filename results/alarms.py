"""What a reader must be told beside a table: limited runs, failures by kind, flags, implausible ground truth."""

from __future__ import annotations

from collections.abc import Iterator

from bench.results import published
from bench.results.ranking import cost
from bench.results.table import LOW_N, Cell, Column, Row, Section, format_value


def notes(section: Section) -> list[str]:
    """The warnings of a section, in the order in which they matter."""
    return [
        *_truth_beaten(section),
        *_outside_bands(section),
        *_limited(section),
        *_problems(section),
        *_samples(section),
        *_panels(section),
        *_failures(section),
        *_flags(section),
    ]


def _cells(section: Section) -> Iterator[tuple[Row, Column, Cell]]:
    for row in section.rows:
        for column in section.columns:
            if column.key in row.cells:
                yield row, column, row.cells[column.key]


def _truth_beaten(section: Section) -> list[str]:
    """Columns in which ground truth is worse than a system, beyond both intervals: mostly a protocol that does
    not fit the data."""
    found = []
    for column in section.headline():
        truths = [row for row in section.rows if row.ground_truth and _value(row, column) is not None]
        if not truths or not column.protocol.gated:
            continue
        bound = _value(truths[0], column) or 0.0
        better = [
            f"{row.label} ({format_value(value, column.value)})"
            for row in section.rows
            if not row.ground_truth
            and (value := _value(row, column)) is not None
            and cost(value, column.value.direction) < cost(bound, column.value.direction)
            and _apart(truths[0].cells[column.key], row.cells[column.key])
        ]
        if better:
            truth = format_value(bound, column.value)
            found.append(
                f"ALARM {column.value.label} ({column.protocol.id}): ground truth ({truth}) is worse than "
                f"{', '.join(better)}. Does the protocol fit this data?"
            )
    return found


def _apart(one: Cell, other: Cell) -> bool:
    """Whether two intervals do not touch; cells without intervals count as apart."""
    if one.interval is None or other.interval is None:
        return True
    return one.interval.high < other.interval.low or other.interval.high < one.interval.low


def _value(row: Row, column: Column) -> float | None:
    cell = row.cells.get(column.key)
    return None if cell is None else cell.value


def _outside_bands(section: Section) -> list[str]:
    """Ground truth outside of what papers print for real clips of this data set, widened by a tenth."""
    found = []
    for row, column, cell in _cells(section):
        if not row.ground_truth or cell.value is None or not column.value.headline:
            continue
        band = published.band_for(section.group.dataset, column.protocol, column.value)
        if band is not None and not band.holds(cell.value):
            low, high = (format_value(bound, column.value) for bound in (band.low, band.high))
            found.append(
                f"OUTSIDE THE PUBLISHED BAND {column.value.label} ({column.protocol.id}): ground truth measures "
                f"{format_value(cell.value, column.value)}, papers print {low} to {high} for real clips of "
                f"{band.dataset} ({band.sources} sources, other recipes among them; 10 % are granted)."
            )
    return found


def _limited(section: Section) -> list[str]:
    limited = [row for row in section.rows if row.limited]
    if not limited:
        return []
    names = ", ".join(f"{row.label} {row.n_clips}/{row.run.n_split}" for row in limited)
    return [f"limited runs (clips requested / clips of the split): {names}"]


def _problems(section: Section) -> list[str]:
    return [
        f"{row.label} · {column.value.label} ({column.protocol.id}): no set value: {cell.problem}"
        for row, column, cell in _cells(section)
        if cell.problem
    ]


def _samples(section: Section) -> list[str]:
    """How many samples the values rest on that depend on their number (FID): per column, all rows."""
    lines = []
    for column in section.columns:
        cells = [(row.label, row.cells[column.key]) for row in section.rows if column.key in row.cells]
        counted = [(label, cell.samples, cell.few_samples) for label, cell in cells if cell.samples is not None]
        if not counted:
            continue
        rows = [f"{label} {n[0]}/{n[1]}" + (" low_n" if few else "") for label, n, few in counted]
        text = f"{column.value.label} ({column.protocol.id}): samples generated/reference: {', '.join(rows)}"
        if any(few for *_, few in counted):
            least = column.protocol.parameters[LOW_N]
            text += f". WARNING low_n: fewer than {least} samples; the estimate is biased upwards"
        if len({n for _, n, _ in counted}) > 1:
            text += ". Rows of unequal numbers are not comparable"
        lines.append(text)
    return lines


def _panels(section: Section) -> list[str]:
    """Columns whose rows were judged by different people: not comparable, so not ranked."""
    lines = []
    for column in section.columns:
        panels = {row.label: row.cells[column.key].panel for row in section.rows if column.key in row.cells}
        if len(set(panels.values())) > 1:
            told = ", ".join(f"{label} by panel {panel[:8]}" for label, panel in panels.items())
            lines.append(f"{column.value.label} ({column.protocol.id}): {told}: not comparable, not ranked")
    return lines


def _failures(section: Section) -> list[str]:
    """Failures by kind: one line per row and set of equal counts, with the protocols that have them."""
    found: dict[tuple[str, str], list[str]] = {}
    for row, column, cell in _cells(section):
        kinds = [f"{kind} {n}" for kind, n in cell.failures.items()]
        kinds += [f"not scored yet {cell.n_pending}"] if cell.n_pending else []
        declared = column.value in column.protocol.values  # not the second number of an error rate
        if kinds and declared:
            protocols = found.setdefault((row.label, f"{', '.join(kinds)} of {cell.n_total}"), [])
            if column.protocol.id not in protocols:
                protocols.append(column.protocol.id)
    everything = {row.label: len({key.protocol for key in row.cells}) for row in section.rows}
    return [
        f"{label}: {text} " + ("in all protocols" if len(ids) == everything[label] else f"in {', '.join(ids)}")
        for (label, text), ids in found.items()
    ]


def _flags(section: Section) -> list[str]:
    """Flags of the metrics: the rows by flag and count."""
    found: dict[str, list[str]] = {}
    for row, column, cell in _cells(section):
        for flag, n in cell.flags.items():
            rows = found.setdefault(f"{column.protocol.id}: {flag} on", [])
            text = f"{row.label} {n}/{cell.n_scored}"
            if text not in rows:
                rows.append(text)
    return [f"{head} {', '.join(rows)}" for head, rows in found.items()]
