"""The store with 100,000 clips."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.store import Store
from bench.store_records import RunClip, RunRecord, ScoreRecord

N = 100_000
RUN = "c" * 64
PROTOCOLS = ("one/x@1", "two/x@1")

READ = """
import sys, time
from pathlib import Path
import numpy
from bench.store import Store

def peak_mib():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) / 1024

store = Store.open(Path(sys.argv[1]), write=False)
before = peak_mib()
slowest = 0.0
for protocol in sys.argv[3:]:
    start = time.process_time()
    column = store.scores(sys.argv[2], protocol)
    slowest = max(slowest, time.process_time() - start)
    if column.n_scored != 100_000 or column.values["a"].sum() != sum(range(100_000)):
        sys.exit("wrong column")
print(slowest, peak_mib() - before)
"""


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A store of N clips under two protocols, and the rate at which scores went in."""
    root = tmp_path_factory.mktemp("big")
    ids = [f"speaker{i % 100:03d}/{i:06d}" for i in range(N)]
    outputs, references = [sha(f"o{c}") for c in ids], [sha(f"r{c}") for c in ids]
    with Store.open(root) as store:
        store.add_run(RunRecord(RUN, "s", "1", "control", "demo", "test", "a2v"))
        store.add_run_clips(RUN, [RunClip(c, c.split("/")[0], r, 3.0) for c, r in zip(ids, references, strict=True)])
        session = store._session
        with session.write() as connection:  # rows without media, at once: add_output syncs each
            run = connection.execute("SELECT n FROM runs").fetchone()[0]
            contents = session.contents.numbers(outputs)
            connection.executemany(
                "INSERT INTO outputs VALUES (?, ?, 1, ?, NULL, NULL, 75, NULL, NULL, 1, 1, 3, 'cpu', '', '', 1, 1, '')",
                ((run, c, contents[o]) for c, o in zip(ids, outputs, strict=True)),
            )
        took = 0.0
        for protocol in PROTOCOLS:
            for first in range(0, N, 5000):
                records = [
                    ScoreRecord(outputs[i], references[i], protocol, "w" * 64, "ok", {"a": float(i)}, {"n": 1.0})
                    for i in range(first, first + 5000)
                ]
                start = time.process_time()
                store.add_scores(records)
                took += time.process_time() - start
    return root, len(PROTOCOLS) * N / took


def test_scores_go_in_quickly(big: tuple[Path, float], capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\nstore: {big[1]:,.0f} score rows a second of processor time")
    assert big[1] > 20_000  # more than 60,000 on a quiet machine


def test_a_column_is_read_in_a_second_and_bounded_memory(
    big: tuple[Path, float], capsys: pytest.CaptureFixture[str]
) -> None:
    command = [sys.executable, "-c", READ, str(big[0]), RUN, *PROTOCOLS]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    seconds, mib = map(float, result.stdout.split())
    with capsys.disabled():
        print(f"\nstore: column of {N:,} clips in {seconds:.2f} s, {mib:.0f} MiB")
    assert seconds < 2.0  # 0.4 on a quiet machine
    assert mib < 150


def test_what_is_left_to_do_is_known_quickly(big: tuple[Path, float]) -> None:
    with Store.open(big[0], write=False) as store:
        start = time.process_time()
        assert len(store.score_states(RUN, PROTOCOLS[0], "w" * 64)) == N
        assert len(store.outputs(RUN)) == N
        assert store.protocols(RUN) == list(PROTOCOLS)
        assert time.process_time() - start < 5.0
