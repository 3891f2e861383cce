"""One pass over a job's clips in a process of its own: ``canonical_pass.py JOB`` (see ``speed_canonical.py``).

Scores as ``bench score`` does, in this process or with the engine's workers, and prints one line of JSON: the
values, the seconds of each protocol, and this process's peak memory after each clip.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from speed_kit import HERE, peak_mb
from speed_scoring import keep_features, payloads

from bench import registry
from bench.engines import get_engine
from bench.protocols import protocols_by_id, select
from bench.records import Clip, Failure, Job, Source, Unit
from bench.score_worker import Scored, ScorePayload, ScoreSetup, worker

PLUGIN = HERE / "canonical_plugin.py"


class OnDisk(Sequence[Any]):
    """The arrays of clips, read one clip at a time, as the store gives them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def add(self, arrays: Any) -> None:
        """Write the arrays of the next clip."""
        np.savez(self._folder / f"{self._count}.npz", **arrays)
        self._count += 1

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place: Any) -> Any:
        with np.load(self._folder / f"{place}.npz") as found:
            return dict(found)


def main() -> None:
    """Score the job's clips."""
    job = json.loads(Path(sys.argv[1]).read_text())
    registry.load_file(PLUGIN)
    protocols, folder = job["protocols"], Path(job["work"])
    work = payloads(
        [_clip(number, clip) for number, clip in enumerate(job["clips"])],
        [(Path(clip["video"]), Path(clip["audio"])) for clip in job["clips"]],
        protocols,
        Path(job["store"]),
    )
    pooled = {pid: OnDisk(_fresh(folder / f"arrays-{place}")) for place, pid in enumerate(protocols)}
    values: list[dict[str, Any]] = []
    seconds = dict.fromkeys(protocols, 0.0)
    peaks = []
    for scored in _scored(work, protocols, job["workers"]):
        values.append(_taken(scored, seconds, pooled))
        if job["keep"]:
            keep_features([scored], Path(job["store"]))
        peaks.append(peak_mb())
    sets = {pid: _aggregated(pid, arrays) for pid, arrays in pooled.items() if _is_of_set(pid)}
    peaks.append(peak_mb())
    print(json.dumps({"values": values, "sets": sets, "seconds": seconds, "peaks": peaks}))


def _clip(number: int, given: dict[str, str]) -> Clip:
    from bench.media import file_sha256

    return Clip(
        id=f"clip{number}",
        dataset="speed",
        split="test",
        video=Source(Path(given["ref_video"])),
        audio=Source(Path(given["ref_audio"])),
        transcript=given["transcript"],
        content_sha256=file_sha256(Path(given["ref_video"])),
        n_frames=0,
        speaker=f"speaker{number}",
    )


def _fresh(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _scored(work: Sequence[ScorePayload], protocols: Sequence[str], workers: int) -> Iterator[Scored]:
    """Results in order of the clips."""
    setup = ScoreSetup(select(",".join(protocols)).by_metric(), "cpu")
    if workers < 2:
        handler = worker(setup)
        for payload in work:
            yield from handler([payload])
        return
    found: dict[str, Scored] = {}
    waiting = [Unit(f"{place:06d}", payload) for place, payload in enumerate(work)]
    with get_engine("local", workers=workers, plugins=[PLUGIN]) as engine:
        engine.start(Job("bench.score_worker:worker", setup))
        while len(found) < len(work):
            while waiting and engine.free():
                engine.submit([waiting.pop(0)])
            for outcome in engine.poll(5.0):
                if outcome.status != "ok":
                    raise RuntimeError(f"clip {outcome.key}: {outcome.reason}: {outcome.detail}")
                found[outcome.key] = outcome.record
    yield from (found[key] for key in sorted(found))


def _taken(scored: Scored, seconds: dict[str, float], pooled: dict[str, OnDisk]) -> dict[str, Any]:
    """The values of a clip; ``None`` where it has no track."""
    values: dict[str, Any] = {}
    for pid, (result, wall, _) in scored.results.items():
        if isinstance(result, Failure):
            if result.kind != "no_track":
                raise RuntimeError(f"{pid}: {result.kind}: {result.detail}")
            values[pid] = None
            continue
        seconds[pid] += result.parts.get("cpu_s", wall)
        if _is_of_set(pid):
            pooled[pid].add(result.arrays)
        values[pid] = dict(result.values)
    return values


def _is_of_set(pid: str) -> bool:
    return protocols_by_id()[pid][1].values[0].aggregation.kind == "corpus"


def _aggregated(pid: str, arrays: OnDisk) -> float:
    """The value of the set, as the table computes it."""
    name, protocol = protocols_by_id()[pid]
    metric = registry.get("metrics", name)()
    counts = np.ones((1, len(arrays)))
    return float(metric.aggregate(pid, protocol.values[0].name, arrays, counts)[0])


if __name__ == "__main__":
    main()
