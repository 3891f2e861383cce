"""``bench data check demo``: files against the hashes of their making, and a full decode."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from bench.api import CheckReport, Clip, DataError, Issue, Progress, Source, UsageError, did_you_mean
from bench.datasets.check_rules import decoded_findings, header_findings, severity, status_of
from bench.datasets.facts import full_facts, header_facts, in_threads
from bench.datasets.layout import Rules, root_alias

if TYPE_CHECKING:
    from bench.datasets.demo.corpus import Corpus
    from bench.datasets.demo.dataset import Demo
    from bench.datasets.demo.sentences import ClipPlan

_THREADS = 4
_GB = 1e9


def check_demo(
    dataset: Demo, split: str | None, pattern: str | None, fast: bool, progress: Progress | None
) -> CheckReport:
    """The report on the splits that were made (or on one of them).

    Raises:
        UsageError: no such split, or ``pattern`` matches nothing.
    """
    from bench.datasets.demo.corpus import manifest_rows
    from bench.datasets.manifest import content_sha256

    mode: Literal["fast", "full"] = "fast" if fast else "full"
    alias = root_alias(dataset.folder)
    if split is not None and split not in dataset.splits:
        raise UsageError(f"demo has no split {split!r}", did_you_mean(split, dataset.splits))
    try:
        corpus = dataset.corpus()
        if split is not None and split not in corpus.splits:
            raise DataError(f"split {split!r} has not been made", f"`bench data make demo --splits {split}`")
    except DataError as error:
        issue = Issue("root-layout", "error", "corpus.json", f"{error.message}; {error.hint}")
        return CheckReport(dataset.name, alias, mode, {}, (issue,), None)
    plans = _selected(corpus, split, pattern)
    found: dict[str, list[Issue]] = {}
    for plan, issues in in_threads(lambda plan: (plan, _clip_issues(dataset, corpus, plan, fast)), plans, _THREADS):
        found[plan.id] = issues
        if progress is not None:
            progress(len(found), len(plans), "check")
    issues = sorted((i for each in found.values() for i in each), key=lambda i: (i.code, i.where, i.detail))
    names = corpus.splits if split is None else (split,)
    splits = {name: _sums(corpus, name, [p for p in plans if p.split == name], found) for name in names}
    rows = [row for row in manifest_rows(corpus) if split in {None, row.split}]
    whole = pattern is None and not any(i.severity == "error" for i in issues)
    return CheckReport(dataset.name, alias, mode, splits, tuple(issues), content_sha256(rows) if whole else None)


def _selected(corpus: Corpus, split: str | None, pattern: str | None) -> list[ClipPlan]:
    """The plans to look at."""
    plans = [plan for name in corpus.splits if split in {None, name} for plan in corpus.plans(name)]
    if pattern is None:
        return plans
    from bench.selection import select

    clips = [Clip(plan.id, "demo", plan.split, None, None, None, "", 0) for plan in plans]
    wanted = {clip.id for clip in select(clips, pattern)}
    return [plan for plan in plans if plan.id in wanted]


def _clip_issues(dataset: Demo, corpus: Corpus, plan: ClipPlan, fast: bool) -> list[Issue]:
    """What is wrong with one clip."""
    from bench.datasets.demo.clip_files import SUFFIXES, clip_path
    from bench.datasets.demo.geometry import SIZE
    from bench.datasets.demo.speech import RATE
    from bench.datasets.files import file_sha256

    record = corpus.clips[plan.id]
    paths = {suffix: clip_path(dataset.folder, plan, suffix) for suffix in SUFFIXES}
    absent = [suffix for suffix, path in paths.items() if not path.is_file()]
    codes = {"mp4": "missing-video", "txt": "missing-text", "wav": "no-audio"}
    issues = [Issue(codes.get(s, "missing-sidecar"), "error", plan.id, f"{paths[s].name} is missing") for s in absent]
    for suffix, path in paths.items():
        if suffix not in absent and not fast and file_sha256(path) != getattr(record, suffix):
            issues.append(Issue("changed", "error", plan.id, f"{path.name} is not as it was made"))
    if absent:
        return issues
    facts = header_facts(paths["mp4"], paths["wav"])
    if not fast and not facts.code:
        facts = full_facts(Source(paths["mp4"]), paths["wav"])
    rules = Rules(size=(SIZE, SIZE), fps=25.0, audio=(RATE, 1))
    findings = header_findings(facts, rules) + ([] if fast else decoded_findings(facts))
    return issues + [Issue(code, severity(code), plan.id, detail) for code, detail in findings]


def _sums(
    corpus: Corpus, name: str, plans: Sequence[ClipPlan], found: dict[str, list[Issue]]
) -> dict[str, float | None]:
    """The line of a split."""
    status = Counter(status_of([issue.severity for issue in found[plan.id]]) for plan in plans)
    return {
        "expected": len(corpus.splits[name]),
        "found": sum(not any(i.code == "missing-video" for i in found[plan.id]) for plan in plans),
        "checked": len(plans),
        "ok": status["ok"],
        "warn": status["warn"],
        "bad": status["bad"],
        "hours": sum(plan.duration_s for plan in plans) / 3600,
        "gb": sum(corpus.clips[plan.id].size for plan in plans) / _GB,
    }
