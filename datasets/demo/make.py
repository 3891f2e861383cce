"""Makes the demo corpus: ``bench data make demo``.

Deterministic (equal recipe, seed and library versions give equal bytes, whatever the number of
processes) and resumable: each finished clip is noted at once, and a clip whose files have the noted
hashes is not made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

from bench.contracts import Progress
from bench.datasets.demo.clip_files import (
    Record,
    is_intact,
    one_thread_children,
    start_worker,
    write_clip,
)
from bench.datasets.demo.corpus import RECIPE, Corpus, manifest_rows, read_corpus, write_corpus
from bench.datasets.demo.sentences import SPLITS, ClipPlan, plan_corpus
from bench.errors import DataError, UsageError, did_you_mean

_JOURNAL = ".making.jsonl"
_GO_ON = "the same command goes on where it stopped."


@dataclass(frozen=True)
class CorpusSummary:
    """What was made: ``made`` and ``kept`` clips of the named splits; ``clips`` and ``frames`` per split."""

    root: Path
    made: int
    kept: int
    clips: Mapping[str, int]
    frames: Mapping[str, int]
    golden_sha256: str

    def __str__(self) -> str:
        parts = [f"{split} {count}" for split, count in self.clips.items()]
        return (
            f"demo corpus in {self.root}\n"
            f"clips: {', '.join(parts)} ({sum(self.frames.values())} frames); {self.made} made, {self.kept} kept\n"
            f"golden {self.golden_sha256[:16]}"
        )


def environment() -> dict[str, str]:
    """Versions of the libraries that frames and samples depend on."""
    import av
    import cv2
    import numpy
    import scipy
    import skimage
    import soxr

    modules = {"av": av, "numpy": numpy, "opencv": cv2, "scikit-image": skimage, "scipy": scipy, "soxr": soxr}
    versions = {name: str(module.__version__) for name, module in modules.items()}
    return {**versions, "espeakng-loader": version("espeakng-loader")}


def make_corpus(
    root: Path,
    size: str | int = "default",
    seed: int = 0,
    splits: Sequence[str] | None = None,
    workers: int = 2,
    progress: Progress | None = None,
) -> CorpusSummary:
    """Make the named splits (all by default) under ``root``; what is there and intact stays.

    ``size``: ``default``, ``large`` or the number of training clips. A split that is not named stays
    as it is; making ``train`` smaller takes clips from the index, not from the disk. ``seed`` other
    than 0 gives other sentences and motion.

    Raises:
        UsageError: unknown split or size, espeak-ng absent, or ``root`` holds another recipe or seed.
        DataError: a file cannot be written, or a worker died.
    """
    from bench.espeak import available

    wanted = _wanted(splits)
    plans = plan_corpus(size, seed)
    if missing := available():
        raise UsageError(f"the demo corpus cannot be made: {missing[0]}", "see `bench doctor`.")
    old = _old_corpus(root, seed)
    known = {**old.clips, **old.spare, **_read_journal(root)}
    todo, kept = [], {}
    for plan in (plan for split in wanted for plan in plans[split]):
        record = known.get(plan.id)
        if record is not None and is_intact(root, plan, record):
            kept[plan.id] = record
        else:
            todo.append(plan)
    versions = environment()
    made = _make(root, todo, len(kept), _key(versions), workers, progress)
    corpus = _merge(root, old, {split: plans[split] for split in wanted}, {**known, **made}, versions)
    return CorpusSummary(
        root=root,
        made=len(made),
        kept=len(kept),
        clips={split: len(ids) for split, ids in corpus.splits.items()},
        frames=corpus.frames(),
        golden_sha256=corpus.golden_sha256(),
    )


def _wanted(splits: Sequence[str] | None) -> list[str]:
    """The splits to make in their order."""
    for split in splits or ():
        if split not in SPLITS:
            raise UsageError(f"the demo corpus has no split {split!r}", did_you_mean(split, SPLITS))
    return [split for split in SPLITS if splits is None or split in splits]


def _old_corpus(root: Path, seed: int) -> Corpus:
    """What is at ``root``, or an empty corpus."""
    if not (root / "corpus.json").exists():
        return Corpus(recipe=RECIPE, seed=seed)
    old = read_corpus(root)
    if (old.recipe, old.seed) != (RECIPE, seed):
        raise UsageError(
            f"{root} holds a demo corpus of recipe {old.recipe}, seed {old.seed}; asked: recipe {RECIPE}, seed {seed}",
            "name another folder with --data-root, or remove that one.",
        )
    return old


def _key(versions: Mapping[str, str]) -> str:
    """A short name for a set of library versions."""
    return hashlib.sha256(json.dumps(versions, sort_keys=True).encode()).hexdigest()[:8]


def _merge(
    root: Path,
    old: Corpus,
    plans: Mapping[str, Sequence[ClipPlan]],
    records: Mapping[str, Record],
    versions: Mapping[str, str],
) -> Corpus:
    """Write corpus.json and the manifest of the splits that were made and of those that stay."""
    ids = {split: [plan.id for plan in plans[split]] for split in plans}
    splits = {s: ids.get(s) or old.splits[s] for s in SPLITS if s in ids or s in old.splits}
    listed = {clip_id for members in splits.values() for clip_id in members}
    corpus = replace(
        old,
        splits=splits,
        clips={clip_id: records[clip_id] for clip_id in sorted(listed)},
        spare={clip_id: record for clip_id, record in sorted(records.items()) if clip_id not in listed},
        environments={**old.environments, _key(versions): dict(versions)},
    )
    write_corpus(root, corpus, manifest_rows(corpus))
    (root / _JOURNAL).unlink(missing_ok=True)
    return corpus


def _make(
    root: Path, plans: Sequence[ClipPlan], kept: int, environment_key: str, workers: int, progress: Progress | None
) -> dict[str, Record]:
    """Make ``plans`` in ``workers`` processes, noting each clip as it is finished."""
    total = kept + len(plans)
    if progress is not None:
        progress(kept, total, "demo corpus")
    made: dict[str, Record] = {}
    if not plans:
        return made
    try:
        root.mkdir(parents=True, exist_ok=True)
        with (root / _JOURNAL).open("a", encoding="utf-8") as journal:
            for clip_id, found in _in_processes(root, plans, workers):
                record = replace(found, environment=environment_key)
                made[clip_id] = record
                journal.write(json.dumps({"id": clip_id, **record.to_json()}) + "\n")
                journal.flush()
                if progress is not None:
                    progress(kept + len(made), total, clip_id)
    except OSError as error:
        raise DataError(f"demo corpus: {root} cannot be written: {error}", f"make room; {_GO_ON}") from error
    return made


def _in_processes(root: Path, plans: Sequence[ClipPlan], workers: int) -> Iterator[tuple[str, Record]]:
    """(clip id, record) as clips are finished. Even one worker is a process: it needs one thread for BLAS."""
    if workers < 1:
        raise UsageError(f"workers = {workers}", "possible: 1 and more.")
    count = min(workers, len(plans))
    with one_thread_children():
        pool = ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=start_worker)
        try:
            futures: dict[Future[Record], str] = {pool.submit(write_clip, root, plan): plan.id for plan in plans}
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool as error:
            raise DataError("demo corpus: a worker process died", f"is there enough memory? {_GO_ON}") from error
        finally:
            pool.shutdown(cancel_futures=True)


def _read_journal(root: Path) -> dict[str, Record]:
    """Clips that an interrupted command had finished; a torn last line is left out."""
    try:
        lines: Iterable[str] = (root / _JOURNAL).read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    records: dict[str, Record] = {}
    for line in lines:
        try:
            cells = json.loads(line)
            clip_id = cells.pop("id")
            records[clip_id] = Record(**cells)
        except (ValueError, TypeError, KeyError, AttributeError):
            continue  # torn by the interruption: that clip is made again
    return records
