"""Leaderboard and compare over many clips: seconds and peak memory at 1k, 10k and 100k rows without media.

``python tests/speed/tables.py [N ...]`` fills a store with invented scores of two systems under six
protocols for each N, then times each verb in a fresh process, so that the peak is that of the verb alone.
The goal is 10 s and 500 MB at 100,000 clips, and growth that is linear.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from speed_kit import peak_mb

SIZES = (1_000, 10_000, 100_000)
PROTOCOLS = tuple(f"speed{i}/toy@1" for i in range(6))
SPEAKERS = 400
BATCH = 10_000

PLUGIN = """
from bench.api import Aggregation, Failure, Metric, Protocol, Value

def declared(i):
    rate = Value("rate", f"Rate{i}", "lower", "fraction", 0.0, aggregation=Aggregation("ratio", "top", "bottom"))
    mean = Value("mean", f"Mean{i}", "higher", "1")
    return Protocol(f"speed{i}/toy@1", (rate if i % 2 else mean,), frozenset(), frozenset(), "x", {}, "x")

class Speed(Metric):
    name = "speed"
    protocols = tuple(declared(i) for i in range(6))
    def score(self, protocol_ids, output, reference, truth):
        return {pid: Failure("model_error") for pid in protocol_ids}
"""


def fill(root: Path, n: int, failing: int = 0) -> None:
    """Two systems over ``n`` clips; ``failing``: clips of each protocol that fail, other ones for each."""
    import numpy as np

    from bench.store import Store
    from bench.store_records import OutputRecord, RunClip, RunRecord, ScoreRecord

    clips = [RunClip(f"c{i:06}", f"s{i % SPEAKERS}", f"{i:064x}", 3.0) for i in range(n)]
    with Store.open(root) as store:
        for number, system in enumerate(("first", "second")):
            run = RunRecord(f"{number:016x}", system, "1", "embedded", "speed", "test", "vts", n_split=n)
            store.add_run(run)
            store.add_run_clips(run.id, clips)
            store.add_run_protocols(run.id, PROTOCOLS)
            values = np.random.default_rng(number).normal(size=(n, len(PROTOCOLS)))
            _add_outputs(
                store, [OutputRecord(run.id, c.clip_id, "ok", f"{number}{i:063x}") for i, c in enumerate(clips)]
            )
            for start in range(0, n, BATCH):
                store.add_scores(
                    [
                        _score(ScoreRecord, f"{number}{i:063x}", f"{i:064x}", p, float(values[i, p]), i < failing * p)
                        for i in range(start, min(n, start + BATCH))
                        for p in range(len(PROTOCOLS))
                    ]
                )


def _add_outputs(store, outputs) -> None:
    """All rows in one transaction, by the store's own parts: each on its own would be synced to disk 200,000 times."""
    with store._session.write():
        for output in outputs:
            store._outputs.add(output, {}, "new")


def _score(record, output: str, reference: str, p: int, value: float, fails: bool):
    if fails:
        return record(output, reference, PROTOCOLS[p], "", "failed", kind="no_face")
    parts = {"top": abs(value), "bottom": 3.0} if p % 2 else {}
    return record(output, reference, PROTOCOLS[p], "", "ok", {} if p % 2 else {"mean": value}, parts)


def verb(name: str, root: Path, plugin: Path) -> None:
    """Run one verb and print its seconds and peak memory as JSON."""
    from bench import registry
    from bench.results import compare, leaderboard, render, render_compare
    from bench.store import Store

    registry.load_file(plugin)
    start, busy = time.perf_counter(), time.process_time()
    with Store.open(root, write=False) as store:
        if name == "leaderboard":
            text = render.render(leaderboard.build(store), "table")
        else:
            pairs = compare.resolve(store, "first", "second")
            text = render_compare.render([compare.compare(store, *pair) for pair in pairs], "table")
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    peak = peak_mb()
    print(json.dumps({"seconds": seconds, "cpu": busy, "peak_mb": peak, "characters": len(text)}))


def main(sizes: list[int], failing: int) -> int:
    """Print a line per size and verb; 1 when a goal is missed at the largest size of all."""
    late = 0
    print(f"{'clips':>8} {'verb':<12} {'seconds':>8} {'CPU s':>8} {'peak MB':>8}")
    for n in sizes:
        with tempfile.TemporaryDirectory() as folder:
            root, plugin = Path(folder) / "store", Path(folder) / "speed_plugin.py"
            plugin.write_text(PLUGIN)
            fill(root, n, failing)
            for name in ("leaderboard", "compare"):
                command = [sys.executable, __file__, "--verb", name, str(root), str(plugin)]
                done = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ))
                found = json.loads(done.stdout.splitlines()[-1])
                print(f"{n:>8} {name:<12} {found['seconds']:>8.2f} {found['cpu']:>8.2f} {found['peak_mb']:>8.0f}")
                late += n >= 100_000 and (found["seconds"] > 10 or found["peak_mb"] > 500)
    return int(late > 0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--verb"]:
        verb(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
        sys.exit(0)
    arguments = sys.argv[1:]
    failures = 1 if "--failing" in arguments else 0
    wanted = [int(a) for a in arguments if a.isdigit()] or list(SIZES)
    sys.exit(main(wanted, failures))
