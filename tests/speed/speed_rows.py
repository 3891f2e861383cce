"""Many clips, rows without media: index, resume decision, leaderboard and compare at 1k, 10k and 100k clips.

Each verb runs in a process of its own: ``speed_rows.py --verb NAME FOLDER`` prints seconds and peak memory.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from speed_kit import Line, Options, fresh, peak_mb
from tables import PLUGIN, fill

PART = "rows"
LIMIT_S, LIMIT_MB = 10.0, 500.0


def run(options: Options) -> list[Line]:
    """Four lines per size; the largest has the targets."""
    sizes = {"full": (1_000, 10_000, 100_000), "quick": (1_000, 10_000), "tiny": (200,)}
    chosen = sizes["tiny" if options.tiny else "quick" if options.quick else "full"]
    return [line for n in chosen for line in _size(n)]


def _size(n: int) -> list[Line]:
    with tempfile.TemporaryDirectory(prefix="speed-") as name:
        folder = Path(name)
        (folder / "speed_plugin.py").write_text(PLUGIN)
        fill(folder / "store", n)
        _write_index(folder / "index", n)
        return [_line(verb, n, folder) for verb in ("index", "resume", "leaderboard", "compare")]


def _line(verb: str, n: int, folder: Path) -> Line:
    script = "tables.py" if verb in {"leaderboard", "compare"} else "speed_rows.py"
    arguments = (folder / "store", folder / "speed_plugin.py") if script == "tables.py" else (folder,)
    found: dict[str, Any] = fresh(script, "--verb", verb, *arguments)
    met = found["seconds"] < LIMIT_S and found["peak_mb"] < LIMIT_MB if n >= 100_000 else None
    target = f"< {LIMIT_S:g} s, < {LIMIT_MB:g} MB" if n >= 100_000 else ""
    note = f"peak {found['peak_mb']:.0f} MB"
    return Line(PART, f"{verb}, {n:,} clips", found["seconds"], "s", target, met, found["seconds"], found["cpu"], note)


def _write_index(folder: Path, n: int) -> None:
    """A folder data set of n rows without media, by its manifest."""
    folder.mkdir()
    rows = "".join(f"s{i % 400}/clip{i:06d}.mp4,s{i % 400},bin blue at a one now\n" for i in range(n))
    (folder / "manifest.csv").write_text("path,speaker,transcript\n" + rows)


def _index(folder: Path) -> int:
    from bench.datasets.folder import Folder

    return len(Folder(folder / "index", folder / "cache").clips("test"))


def _resume(folder: Path) -> int:
    """The decision that nothing is left to do: outputs and score keys of every clip and protocol."""
    from bench.store import Store
    from bench.store_records import ScoreKey

    with Store.open(folder / "store", write=False) as store:
        run = store.runs()[0]
        outputs, clips = store.outputs(run.id), store.run_clips(run.id)
        done = 0
        for protocol in store.protocols(run.id):
            if protocol.startswith("cost/"):
                continue
            keys = (ScoreKey(outputs[c.clip_id].sha256 or "", c.reference_sha256, protocol, "") for c in clips)
            done += len(store.have_scores(keys))
        return done


def verb(name: str, folder: Path) -> None:
    """Run one verb and print its seconds, processor seconds and peak memory as JSON."""
    start, busy = time.perf_counter(), time.process_time()
    count = _index(folder) if name == "index" else _resume(folder)
    found = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - busy, "peak_mb": peak_mb()}
    print(json.dumps({**found, "count": count}))


if __name__ == "__main__":
    verb(sys.argv[2], Path(sys.argv[3]))
