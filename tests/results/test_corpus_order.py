"""Set values are a function of the plan alone: the order in which workers deliver changes no bit of them.

A store hands clips out in order of their ids, and the sums are made in that order when a table is. So neither arrival,
nor batches, nor the number of workers can move a rounding; only the selection of clips can.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from bench.metrics.fid import set_distance
from bench.metrics.moments import Pool
from bench.store import Store
from bench.store_records import OutputRecord, RunClip, RunRecord, ScoreRecord

D, N = 16, 30  # as few dimensions as show it; rows beyond D are kept as sums
PROTOCOL = "fid/inception-pt@1"


def arrays_of(clip: int) -> bytes:
    """Features of both sides of a clip, of numbers that lie far apart; each third clip is long and kept as sums."""
    rng = np.random.default_rng(clip)
    found = {}
    for side in ("generated", "reference"):
        pool = Pool()
        rows = 3 * D if clip % 3 == 0 else D // 4
        pool.add((rng.normal(size=(rows, D)) * 10.0 ** rng.uniform(-3, 3, size=(rows, D))).astype(np.float32))
        found |= {f"{side}.{name}": array for name, array in pool.arrays().items()}
    return save({name: np.ascontiguousarray(array) for name, array in found.items()})


def fill(root: Path, order: Sequence[int], batch: int) -> None:
    """Outputs and scores in that order of arrival, so many in a commit."""
    with Store.open(root) as store:
        run = RunRecord(id="run", system="x", version="1", tier="control", dataset="d", split="test", task="a2v")
        store.add_run(run)
        clips = [RunClip(f"clip{i:02}", f"s{i % 4}", hashlib.sha256(b"%d" % i).hexdigest(), 3.0) for i in range(N)]
        store.add_run_clips(run.id, [clips[i] for i in order])
        for i in order:
            store.add_output(OutputRecord(run.id, clips[i].clip_id, "ok", f"{i:064x}", media_seconds=3.0))
        for start in range(0, N, batch):
            store.add_scores(
                [
                    ScoreRecord(f"{i:064x}", clips[i].reference_sha256, PROTOCOL, "w", "ok", arrays=arrays_of(i))
                    for i in order[start : start + batch]
                ]
            )


def distances(root: Path, counts: np.ndarray) -> list[str]:
    """The set value of each row of multiplicities, to the last bit."""
    with Store.open(root, write=False) as store:
        column = store.scores("run", PROTOCOL)
        assert column.n_scored == N
        return [set_distance(column.arrays, row).hex() for row in counts]


@pytest.mark.parametrize("batch", [1, 7, N])
def test_arrival_and_batches_change_no_bit(tmp_path: Path, batch: int) -> None:
    rng = np.random.default_rng(0)
    counts = np.vstack([np.ones(N, dtype=int), *(np.bincount(rng.integers(0, N, N), minlength=N) for _ in range(3))])
    fill(tmp_path / "sorted", range(N), N)
    expected = distances(tmp_path / "sorted", counts)
    for seed in range(3):
        order = np.random.default_rng(seed + 1).permutation(N).tolist()
        fill(tmp_path / f"shuffled{seed}", order, batch)
        assert distances(tmp_path / f"shuffled{seed}", counts) == expected


def test_the_order_of_summing_would_matter(tmp_path: Path) -> None:
    """Were clips summed as they arrive, last bits would differ: the test above can fail."""
    fill(tmp_path / "store", range(N), N)
    with Store.open(tmp_path / "store", write=False) as store:
        arrays = list(store.scores("run", PROTOCOL).arrays)
    ones = np.ones(N, dtype=int)
    straight = set_distance(arrays, ones)
    found = {set_distance([arrays[i] for i in np.random.default_rng(s).permutation(N)], ones) for s in range(8)}
    assert found != {straight}
    assert all(value == pytest.approx(straight, rel=1e-9) for value in found)
