"""The acceptance trial of ``talker`` at full size: official layouts with weights by rule, one short clip on the CPU.

    python tests/full_size/talker_acceptance.py --folder DIR [--keep] [--threads N] [--set KEY=VALUE …]

Not a test that runs by itself: 15.2 GB of files are written under DIR, and again by ``bench weights add``. Each
official file is removed once it is added, so 24 GB of room are enough. An hour of a core may go by. The files stay with
``--keep``, and are used again where they are. What ran, the seconds of each stage, and the memory of the process with
its children are printed as JSON; exit code 1 where the limit is passed or a result is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from official_files import OFFICIAL, Official, write_tokenizer

LIMIT_GB = 16.0
CLIP = "*"  # with --limit 1: the data set's first choice
#: One patch of 0.16 s beyond the prefix: four pictures of 512 px, each of which takes a core the better part of a
#: minute.
SETTINGS = ("tier=canonical", "max_seconds=0.16")
_MOTION_FRAMES = 25
_GB = 1e9


def main() -> None:
    """Make the files, add them, run the command, report."""
    options = _options()
    folder = options.folder.resolve()
    environment = {
        **os.environ,
        "BENCH_WEIGHTS": str(folder / "weights"),
        "OMP_NUM_THREADS": str(options.threads),
        "STAGES": str(folder / "stages.json"),
    }
    report: dict[str, Any] = {"add": _add_all(folder, environment)}
    report |= _run(folder, environment, options)
    print(json.dumps(report, indent=1))
    if not options.keep:
        shutil.rmtree(folder)
    sys.exit(0 if report["rc"] == 0 and report["made"] and report["peak_gb"] <= LIMIT_GB else 1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="an empty folder, or one of an earlier --keep")
    parser.add_argument("--task", default="t2av")
    parser.add_argument("--clip", default=CLIP)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--set", action="append", default=[], dest="settings", help="further settings of talker")
    parser.add_argument("--encode", action="store_true", help="encode the reference video, too: 25 pictures a second")
    parser.add_argument("--keep", action="store_true")
    return parser.parse_args()


# --------------------------------------------------------------------------- the files


def _add_all(folder: Path, environment: dict[str, str]) -> dict[str, dict[str, float]]:
    """Each file is written, added as a user would, and removed."""
    found = {}
    if not (folder / "weights" / "talker-t2av-tokenizer.json").exists():
        _command(environment, "weights", "add", str(write_tokenizer(folder)), "--as", "talker-t2av-tokenizer.json")
    for official in OFFICIAL:
        if not (folder / f"{official.manifest}.added").exists():
            found[official.path] = _add(official, folder, environment)
            (folder / f"{official.manifest}.added").touch()
    return found


def _add(official: Official, folder: Path, environment: dict[str, str]) -> dict[str, float]:
    path = folder / official.path
    begin = time.perf_counter()
    if not path.exists():
        official.write(folder)
    written = time.perf_counter()
    with watched() as memory:
        _command(environment, "weights", "add", str(path), memory=memory)
    told = {"gb": path.stat().st_size / _GB, "write_s": written - begin, "add_s": time.perf_counter() - written}
    path.unlink()
    return told | {"add_peak_gb": memory.peak / _GB, "add_peak_anonymous_gb": memory.anonymous / _GB}


# --------------------------------------------------------------------------- the run


def _run(folder: Path, environment: dict[str, str], options: argparse.Namespace) -> dict[str, Any]:
    store, stages = folder / "store", Path(environment["STAGES"])
    shutil.rmtree(store, ignore_errors=True)
    stages.unlink(missing_ok=True)
    settings = [*SETTINGS, *options.settings]
    if not options.encode:
        settings.append(f"motion_file={_motion(folder)}")
    words = ["run", "--system", "talker", "--dataset", "demo", "--task", options.task, "--clips", options.clip]
    words += ["--limit", "1", "--device", "cpu", "--workers", "0", "--batch-size", "1", "--timeout", "36000"]
    words += ["--metrics", "duration", "--out", str(store)]  # the others have no value for noise of 0.16 s
    words += [word for setting in settings for word in ("--set", setting)]
    begin = time.perf_counter()
    with watched() as memory:
        rc = _command(environment, *words, memory=memory, timed=True)
    seconds = time.perf_counter() - begin
    return {
        "command": f"bench {' '.join(words)}",
        "threads": options.threads,
        "rc": rc,
        "seconds": seconds,
        "stages": json.loads(stages.read_text()) if stages.exists() else {},
        "peak_gb": memory.peak / _GB,
        "peak_anonymous_gb": memory.anonymous / _GB,
        "resident_of_files_gb": {name: size / _GB for name, size in memory.files.items()},
        "made": [f"{path.name}: {path.stat().st_size} bytes" for path in store.rglob("*.mp4")]
        + [f"{path.name}: {path.stat().st_size} bytes" for path in store.rglob("*.wav")],
    }


def _motion(folder: Path) -> Path:
    """Motion codes of a reference, so that no reference video need be encoded: the official statistics, moving."""
    import torch
    from safetensors.torch import save_file

    from bench.systems.talker.motion_stats import official

    stats = official()
    waves = np.sin(np.arange(_MOTION_FRAMES)[:, None] / 5 + np.arange(len(stats.mean)))
    path = folder / "motion.safetensors"
    save_file({"motion": stats.raw(torch.from_numpy(waves.astype(np.float32))).half()}, path)
    return path


def _command(environment: dict[str, str], *words: str, memory: Memory | None = None, timed: bool = False) -> int:
    """``bench`` with these words; ``timed``: with the seconds of each stage in a file."""
    script = [str(Path(__file__).with_name("timed_bench.py"))] if timed else ["-m", "bench"]
    child = subprocess.Popen([sys.executable, *script, *words], env=environment)
    if memory is not None:
        memory.root = child.pid
    return child.wait()


# --------------------------------------------------------------------------- memory


@dataclass
class Memory:
    """The most that a process and its children had: all pages by share, pages of no file, and those of each weight
    file, in bytes."""

    root: int = 0
    peak: int = 0
    anonymous: int = 0
    files: dict[str, int] = field(default_factory=dict)

    looks: int = 0

    def look(self) -> None:
        """Take the numbers of now; those of the files, which take a while to read, every tenth time."""
        pids = _tree(self.root) if self.root else []
        told = [_rollup(pid) for pid in pids]
        self.peak = max(self.peak, sum(one["Pss"] for one in told))
        self.anonymous = max(self.anonymous, sum(one["Pss_Anon"] for one in told))
        self.looks += 1
        for pid in pids if self.looks % 10 == 0 else []:
            for name, size in _mapped(pid).items():
                self.files[name] = max(self.files.get(name, 0), size)


@contextmanager
def watched(every: float = 1.0) -> Iterator[Memory]:
    """The memory of what runs meanwhile, looked at ``every`` so many seconds."""
    memory, over = Memory(), threading.Event()

    def look() -> None:
        while not over.wait(every):
            memory.look()

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield memory
    finally:
        over.set()
        watcher.join()


def _tree(root: int) -> list[int]:
    """A process and all below it."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        told = _read(path)
        if told:
            parents[int(path.parent.name)] = int(told.rpartition(")")[2].split()[1])
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def _rollup(pid: int) -> dict[str, int]:
    told = _read(Path(f"/proc/{pid}/smaps_rollup")).splitlines()
    numbers = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in told if line.endswith("kB")}
    return {"Pss": numbers.get("Pss", 0), "Pss_Anon": numbers.get("Pss_Anon", 0)}


def _mapped(pid: int) -> dict[str, int]:
    """Resident bytes of the mapped weight files."""
    found: dict[str, int] = {}
    name = ""
    for line in _read(Path(f"/proc/{pid}/smaps")).splitlines():
        first = line.split(maxsplit=1)[0]
        if not first.endswith(":"):
            path = Path(line.split(maxsplit=5)[5]) if len(line.split(maxsplit=5)) > 5 else Path()
            name = path.name if path.suffix == ".safetensors" else ""
        elif name and first == "Rss:":
            found[name] = found.get(name, 0) + int(line.split()[1]) * 1024
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # the process has ended
        return ""


if __name__ == "__main__":
    main()
