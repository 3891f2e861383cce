"""Systems and metrics that take their time and note every execution, for runs that are killed.

``E2E_NOTES`` names a folder; each process appends a line per execution to a file of its own. ``E2E_SLEEP`` is the
time in seconds that one execution takes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.api import Aggregation, Audio, Failure, Metric, Output, Protocol, Reference, Request, Score, System, Value


def work(line: str) -> None:
    """Note an execution, then be busy."""
    notes = os.environ.get("E2E_NOTES")
    if notes:
        with (Path(notes) / f"{os.getpid()}.txt").open("a") as file:
            file.write(line + "\n")
    time.sleep(float(os.environ.get("E2E_SLEEP", "0")))


class SlowVoice(System):
    """Noise of the video's length; nothing for every fifth seed."""

    name = "slow-voice"
    version = "1"
    tasks = ("vts",)
    summary = "noise, slowly"

    def generate(self, requests: Sequence[Request]) -> list[Output | Failure]:
        return [self._noise(request) for request in requests]

    def _noise(self, request: Request) -> Output | Failure:
        import numpy as np

        work(f"generate {request.key}")
        if request.seed % 5 == 0:
            return Failure("no_face", "every fifth seed")
        count = (request.n_frames or 1) * 640
        level = 0.01 + 0.3 * request.generator().random()
        samples = level * request.generator().standard_normal(count).clip(-3, 3)
        return Output(audio=Audio(samples.astype(np.float32), 16_000))


class SlowFace(System):
    """Stripes of the length of the audio."""

    name = "slow-face"
    version = "1"
    tasks = ("a2v",)
    summary = "stripes, slowly"

    def generate(self, requests: Sequence[Request]) -> list[Output | Failure]:
        return [self._stripes(request) for request in requests]

    def _stripes(self, request: Request) -> Output:
        import numpy as np

        work(f"generate {request.key}")
        frames = np.full((request.n_frames or 1, 48, 48, 3), 60, np.uint8)
        frames[:, :, :: int(request.generator().integers(2, 9))] = 200
        return Output(video=frames)


def _protocol(pid: str, name: str, judges: str) -> Protocol:
    return Protocol(
        id=pid,
        values=(
            Value(name, name, "higher", "", low=0.0, high=1.0),
            Value("ratio", "ratio", "higher", "", aggregation=Aggregation("ratio", "top", "bottom"), headline=False),
        ),
        judges=frozenset({judges}),
        needs=frozenset({judges, f"reference_{judges}"}),
        status="offline-real",
        parameters={},
        source="a test",
    )


LEVEL, LIGHT = _protocol("slow-level/rms@1", "level", "audio"), _protocol("slow-light/mean@1", "light", "video")


class SlowLook(Metric):
    """How loud or how light an output is; about a quarter of outputs has no value."""

    name = "slow-look"
    protocols = (LEVEL, LIGHT)

    def score(self, protocol_ids: Sequence[str], output, reference, truth: Reference) -> Mapping[str, Score | Failure]:
        import numpy as np

        work(f"score {' '.join(protocol_ids)} {output.sha256} {truth.sha256}")
        found: dict[str, Score | Failure] = {}
        for pid in protocol_ids:
            if output.sha256[9] in "048c":
                found[pid] = Failure("no_face", "every fourth output")
                continue
            if pid == LEVEL.id:
                value = float(np.sqrt(np.mean(np.square(output.audio(), dtype=np.float64))))
            else:
                value = float(output.frames.mean() / 255)
            known = reference.feature(
                "video:slow-mean@1", lambda: {"mean": reference.frames.mean(axis=(1, 2, 3), dtype=np.float64)}
            )
            top, bottom = value, float(known["mean"].mean())
            name = "level" if pid == LEVEL.id else "light"
            found[pid] = Score({name: value, "ratio": top / bottom}, {"top": top, "bottom": bottom})
        return found
