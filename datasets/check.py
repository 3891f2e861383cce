"""``bench data check``: what is wrong with a copy of a data set. Never changes it.

Full mode decodes everything (and so builds the index); fast mode looks at names, sizes, text
heads and container headers alone.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bench.api import BenchError, CheckReport, Clip, Issue, Progress, UsageError, did_you_mean
from bench.datasets.check_rules import header_findings, row_severity, severity, status_of
from bench.datasets.facts import Facts, header_facts, in_threads
from bench.datasets.files import stamp
from bench.datasets.index import Builder, mark_duplicates, read_text
from bench.datasets.layout import Item, Rules, Scan, TreeDataset, root_alias
from bench.datasets.manifest import ClipRow, content_sha256, sort_rows

if TYPE_CHECKING:
    from bench.datasets.check_rules import Finding

EXPECTED_FILE = "expected.json"
_GB = 1e9
_FAST_THREADS = 4


@dataclass(frozen=True)
class _Scanned:
    """A scan (perhaps narrowed by a pattern), and how many clips the whole split has on disk."""

    scan: Scan
    found: int


Scans = dict[str, _Scanned]


def check_tree(
    dataset: TreeDataset, split: str | None, pattern: str | None, fast: bool, progress: Progress | None
) -> CheckReport:
    """The report of one split or of all.

    Raises:
        UsageError: the root does not exist, no such split, or ``pattern`` matches nothing.
    """
    mode: Literal["fast", "full"] = "fast" if fast else "full"
    tried = dataset.candidates()
    root = next((folder for folder in tried if dataset.recognises(folder)), None)
    if root is None:
        places = ", ".join(root_alias(folder) for folder in tried)
        issue = Issue("root-layout", "error", "root", f"tried {places}; expected {dataset.layout}")
        return CheckReport(dataset.name, root_alias(tried[0]), mode, {}, (issue,), None)
    scans, issues = _scan(dataset, root, split)
    scans = _filtered(scans, pattern)
    expected, expected_issues = _expected(dataset, root)
    issues += expected_issues + _count_issues(scans, expected)
    if fast:
        rows = _fast_rows(dataset, root, scans, progress)
    else:
        rows = _full_rows(dataset, root, scans, progress)
    issues += _row_issues(rows, dataset)
    content = content_sha256(rows) if rows and not fast and pattern is None else None
    splits = {name: _sums(scan, rows, expected.get(name)) for name, scan in scans.items()}
    return CheckReport(dataset.name, root_alias(root), mode, splits, tuple(_sorted(issues)), content)


def exit_status(report: CheckReport, strict: bool = False) -> int:
    """0: no errors; 1: errors, with ``strict`` warnings too."""
    return int(bool(report.count("error") or (strict and report.count("warn"))))


def _sorted(issues: Sequence[Issue]) -> list[Issue]:
    return sorted(issues, key=lambda issue: (issue.code, issue.where, issue.detail))


def _scan(dataset: TreeDataset, root: Path, split: str | None) -> tuple[Scans, list[Issue]]:
    """Scans by split, each with the number of clips that were found, and what is wrong with the tree."""
    known = dataset.found_splits(root)
    if split is not None and split not in known:
        raise UsageError(f"{dataset.name} has no split {split!r}", did_you_mean(split, known))
    scans: dict[str, Scan] = {}
    issues: list[Issue] = []
    for name in known if split is None else (split,):
        try:
            scans[name] = dataset.scan(root, name)
        except BenchError as error:
            issues.append(Issue("manifest", "error", name, str(error)))
            scans[name] = Scan([], complete=False)
        issues += scans[name].issues
    if all(scan.complete for scan in scans.values()):
        issues += dataset.tree_issues(root, scans)
    # two splits of one tree can share findings (a bad name); each is shown once
    found = {name: sum(bool(item.video or item.text) for item in scan.items) for name, scan in scans.items()}
    return {name: _Scanned(scan, found[name]) for name, scan in scans.items()}, list(dict.fromkeys(issues))


def _filtered(scans: Scans, pattern: str | None) -> Scans:
    if pattern is None:
        return scans
    from bench.selection import select

    items = [item for scanned in scans.values() for item in scanned.scan.items]
    clips = [Clip(item.clip_id, "", item.split, None, None, None, "", 0) for item in items]
    wanted = {clip.id for clip in select(clips, pattern)}
    return {
        name: replace(own, scan=replace(own.scan, items=[i for i in own.scan.items if i.clip_id in wanted]))
        for name, own in scans.items()
    }


def _expected(dataset: TreeDataset, root: Path) -> tuple[Mapping[str, int], list[Issue]]:
    """Clips per split: those of the tree's own ``expected.json`` before the official ones."""
    path = root / EXPECTED_FILE
    if not path.is_file():
        return dataset.counts, []
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): int(count) for name, count in known.items()}, []
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        detail = f"{EXPECTED_FILE} is no object of numbers: {error}"
        return dataset.counts, [Issue("count", "warn", EXPECTED_FILE, detail)]


def _count_issues(scans: Scans, expected: Mapping[str, int]) -> list[Issue]:
    return [
        Issue("count", "warn", name, f"expected {expected[name]} clips, found {own.found}")
        for name, own in scans.items()
        if own.scan.complete and name in expected and expected[name] != own.found
    ]


def _full_rows(dataset: TreeDataset, root: Path, scans: Scans, progress: Progress | None) -> list[ClipRow]:
    """Rows of all scanned items, decoded (or known from before)."""
    rows: list[ClipRow] = []
    for split, own in scans.items():
        builder = Builder(dataset.name, root, dataset.cache, dataset.rules_for(split))
        rows += builder.rows(own.scan.items, None, progress)
    return mark_duplicates(sort_rows(rows))


def _fast_rows(dataset: TreeDataset, root: Path, scans: Scans, progress: Progress | None) -> list[ClipRow]:
    items = [item for scanned in scans.values() for item in scanned.scan.items]
    rows: list[ClipRow] = []
    for row in in_threads(
        lambda item: _fast_row(item, root, dataset.name, dataset.rules_for(item.split)), items, _FAST_THREADS
    ):
        rows.append(row)
        if progress is not None:
            progress(len(rows), len(items), "check")
    return rows


def _fast_row(item: Item, root: Path, name: str, rules: Rules) -> ClipRow:
    findings: list[Finding] = list(item.problems)
    size = 0
    if item.text is not None and item.transcript is None:
        findings += read_text(root / item.text, rules)[1]
    facts = Facts()
    if item.video is not None:
        known = stamp(root / item.video)
        size = known.size if known is not None else 0
        if size == 0:
            findings.append(("empty", f"{item.video} has zero bytes"))
        else:
            facts = header_facts(root / item.video, root / item.audio if item.audio else None)
            findings += header_findings(facts, rules)
    first = dict(reversed(findings))
    status = status_of([severity(code, need_audio=rules.need_audio) for code in first])
    seconds = facts.claimed / facts.fps if facts.fps else 0.0
    return ClipRow(
        item.clip_id,
        name,
        item.split,
        item.video,
        item.text,
        item.group,
        dur_s=seconds,
        bytes=size,
        status=status,
        issues=tuple(first),
        details=tuple(first.values()),
    )


def _row_issues(rows: Sequence[ClipRow], dataset: TreeDataset) -> list[Issue]:
    return [
        Issue(code, row_severity(code, row, dataset.rules_for(row.split)), row.clip_id, detail)
        for row in rows
        for code, detail in zip(row.issues, row.details, strict=True)
    ]


def _sums(scanned: _Scanned, rows: Sequence[ClipRow], expected: int | None) -> dict[str, float | None]:
    names = {item.clip_id for item in scanned.scan.items}
    own = [row for row in rows if row.clip_id in names]
    status = Counter(row.status for row in own)
    return {
        "expected": expected,
        "found": scanned.found,
        "checked": len(own),
        "ok": status["ok"],
        "warn": status["warn"],
        "bad": status["bad"],
        "hours": round(sum(row.dur_s for row in own) / 3600, 6),
        "gb": round(sum(row.bytes for row in own) / _GB, 6),
    }
