"""A small harness over schedule, local engine and store, to be killed: ``toy_run.py STORE N WORKERS NOTES``.

Generates a file per clip, then scores it; whatever is in the store is not done again. Each execution
is noted in the folder NOTES. Prints the store's digest at the end.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from toy_job import note

from bench.contracts import Engine
from bench.engines.local import LocalEngine
from bench.records import Job, Unit
from bench.schedule import run
from bench.store import Store
from bench.store_records import OutputRecord, RunClip, RunRecord, ScoreRecord

RUN = hashlib.sha256(b"toy run").hexdigest()
PROTOCOL = "toy/length@1"


def generate(setup: dict[str, str]) -> Callable[[Sequence[Any]], list[Any]]:
    """Writes a file into the stage and returns its path and hash."""

    def handle(payloads: Sequence[str]) -> list[tuple[str, str]]:
        made = []
        for clip_id in payloads:
            note(setup["notes"], f"generate:{clip_id}")
            time.sleep(0.004)
            content = clip_id.encode() * 2000
            path = Path(setup["stage"]) / (hashlib.sha256(clip_id.encode()).hexdigest() + ".wav")
            path.write_bytes(content)
            made.append((str(path), hashlib.sha256(content).hexdigest()))
        return made

    return handle


def score(setup: dict[str, str]) -> Callable[[Sequence[Any]], list[Any]]:
    """The length of a file."""

    def handle(payloads: Sequence[tuple[str, str]]) -> list[int]:
        for clip_id, _ in payloads:
            note(setup["notes"], f"score:{clip_id}")
            time.sleep(0.002)
        return [Path(path).stat().st_size for _, path in payloads]

    return handle


def main(
    root: Path,
    n: int,
    workers: int,
    notes: Path,
    batch_size: int = 1,
    engine: Callable[[int], Engine] = LocalEngine,
) -> str:
    clip_ids = [f"speaker {i % 3}/clip {i:03d}" for i in range(n)]
    with Store.open(root) as store:
        store.add_run(RunRecord(RUN, "toy", "1", "control", "none", "test", "tts", n_split=n))
        store.add_run_clips(RUN, [RunClip(c, c.split("/")[0], f"reference of {c}", 3.0) for c in clip_ids])
        setup = {"stage": str(store.stage_dir()), "notes": str(notes)}
        done = store.outputs(RUN)
        units = [Unit(c, c) for c in clip_ids if c not in done]
        workplace = engine(workers)
        for outcome in run(workplace, Job("toy_run:generate", setup), units, batch_size=batch_size):
            path, sha = outcome.record
            store.add_output(OutputRecord(RUN, outcome.key, "ok", sha256=sha), {"audio": Path(path)})

        outputs = store.outputs(RUN)
        scored = store.score_states(RUN, PROTOCOL, "")
        units = [Unit(c, (c, str(root / outputs[c].audio))) for c in clip_ids if c not in scored]
        for outcome in run(workplace, Job("toy_run:score", setup), units, batch_size=batch_size):
            record = ScoreRecord(
                outputs[outcome.key].sha256,
                f"reference of {outcome.key}",
                PROTOCOL,
                "",
                "ok",
                {"length": float(outcome.record)},
                seconds=outcome.seconds,
            )
            store.add_scores([record])
        return store.digest()


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])))
