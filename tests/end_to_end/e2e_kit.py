"""What the end-to-end tests share: the command line as a process, and what may be compared of two stores."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from bench import cli
from bench.media import write_video
from bench.records import Audio
from bench.store import Store

HERE = Path(__file__).parent
SLOW = HERE / "plugins" / "slow.py"
#: Columns of an export that tell how long something took on this machine.
TIMES = ("score_seconds", "generate_seconds", "peak_mib")
MARK = "E2E_MARK"


def make_talks(root: Path, frames: int = 25, size: int = 48) -> Path:
    """Two speakers with five tiny clips each, of 1 s and more, sound in the mp4, text beside."""
    for speaker in range(2):
        for number in range(5):
            count = frames + number
            pictures = np.full((count, size, size, 3), 40 + 90 * speaker, np.uint8)
            for index in range(count):
                top = (index * (number + 1)) % (size - 8)
                pictures[index, top : top + 8] = (200, 30 * number, 90)
            at = np.arange(count * 640) / 16_000
            samples = 0.2 * np.sin(2 * np.pi * (110 + 60 * speaker + 35 * number) * at)
            path = root / f"speaker{speaker}" / f"clip{number}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_video(path, pictures, audio=Audio(samples.astype(np.float32), 16_000))
            path.with_suffix(".txt").write_text(f"bin blue at {'abcde'[number]} one now\n")
    return root


def bench(*arguments: object) -> None:
    """``bench …`` in this process; it must succeed."""
    words = [str(argument) for argument in arguments]
    code = cli.invoke(words)
    assert code == 0, (code, words)


def table(store: Path, plugin: Path | None = SLOW, drop: Sequence[str] = ()) -> str:
    """``bench leaderboard -f csv`` without the rows of costs and the columns ``drop``."""
    target = store.parent / f"{store.name}-table.csv"
    plugins = ["--plugin", plugin] if plugin else []
    bench("leaderboard", "--out", store, "-f", "csv", "--save", target, *plugins)
    return _without(target.read_text(encoding="utf-8"), drop)


def export(store: Path, plugin: Path | None = SLOW, drop: Sequence[str] = TIMES) -> str:
    """``bench export`` without the rows of costs and the columns of times."""
    target = store.parent / f"{store.name}-rows.csv"
    plugins = ["--plugin", plugin] if plugin else []
    bench("export", target, "--out", store, *plugins)
    return _without(target.read_text(encoding="utf-8"), drop)


def _without(text: str, drop: Sequence[str]) -> str:
    rows = list(csv.DictReader(io.StringIO(text)))
    assert any(row["protocol"].startswith("cost/") for row in rows)
    result = io.StringIO()
    writer = csv.DictWriter(result, [name for name in rows[0] if name not in drop], extrasaction="ignore")
    writer.writeheader()
    writer.writerows(row for row in rows if not row["protocol"].startswith("cost/"))
    return result.getvalue()


def digest(store: Path) -> str:
    """The hash of all results of a store."""
    with Store.open(store, write=False) as opened:
        return opened.digest()


@dataclass(frozen=True)
class Results:
    """What a store holds, without what depends on the machine's speed."""

    table: str
    export: str
    digest: str


def results(store: Path, plugin: Path | None = SLOW) -> Results:
    """Everything of a store that must not depend on how it came about."""
    return Results(table(store, plugin), export(store, plugin), digest(store))


class Driver:
    """``python -m bench …`` as a process; it and its workers carry a mark by which they are found.

    ``program``: Python code that takes the place of the command.
    """

    def __init__(
        self, arguments: Sequence[object], folder: Path, environment: Mapping[str, str], program: str = ""
    ) -> None:
        self.mark = str(folder)
        self.notes = folder / "notes"
        self.notes.mkdir(exist_ok=True)
        env = {**os.environ, **environment, MARK: self.mark, "E2E_NOTES": str(self.notes)}
        self.process = subprocess.Popen(
            [sys.executable, *(["-c", program] if program else ["-m", "bench"]), *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=env,
            cwd=folder,
        )

    def wait_for(self, executions: int, limit_s: float = 60.0) -> bool:
        """Wait until so many executions are noted; false: it ended before that."""
        end = time.monotonic() + limit_s
        while self.process.poll() is None and time.monotonic() < end:
            if sum(noted(self.notes).values()) >= executions:
                return True
            time.sleep(0.002)
        return False

    def finish(self, limit_s: float = 120.0) -> tuple[int, str, str]:
        """Exit code, stdout and stderr."""
        out, err = self.process.communicate(timeout=limit_s)
        return self.process.returncode, out, err

    def workers(self) -> list[int]:
        """Its live worker processes."""
        return [pid for pid, command in marked(self.mark).items() if "bench.engines.worker" in command]


def marked(mark: str) -> dict[int, str]:
    """Live processes that carry the mark, with their command lines."""
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue  # it has ended meanwhile, or is somebody else's
        if f"{MARK}={mark}".encode() in environment:
            found[int(folder.name)] = command
    return found


def assert_nobody_is_left(mark: str, limit_s: float = 10.0) -> None:
    """No marked process lives on."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end and marked(mark):
        time.sleep(0.02)
    left = marked(mark)
    assert left == {}, "\n".join(left.values())


def noted(notes: Path) -> Counter[str]:
    """How often each unit was executed; a line that is just being written does not count."""
    return Counter(line for file in notes.glob("*.txt") for line in file.read_text().split("\n")[:-1] if line.strip())


needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds processes through /proc")
