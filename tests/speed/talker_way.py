"""One way of one case of :mod:`speed_talker` in a process of its own: ``talker_way.py JOB``; prints JSON.

A job names ``task`` (``t2av`` or ``a2v``), ``way`` (``plain`` or ``ours``), ``passes`` of the plain way,
``settings``, ``clips``, ``outputs`` (the file for what was made) and ``shares`` (say where our time goes, too).
Loading is not timed. With ``part`` = [i, n] it is one of n processes that share the clips and begin together
(``speed_kit.side_by_side``); ``threads`` 0: torch's default.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from speed_kit import gate, peak_mb, timed

sys.path.insert(0, str(Path(__file__).parent / "reference_way"))

from lia_x import PlainRenderer
from talker import Asked, PlainTalker

from bench.faces.detect import DlibDetector
from bench.records import Request
from bench.systems.talker import parts, pipeline, tiny, weight_files
from bench.systems.talker.backbone import Backbone
from bench.systems.talker.face_view import FaceView, seen
from bench.systems.talker.flow_matching import CFM
from bench.systems.talker.front_tiny import TinyFront
from bench.systems.talker.jobs import Planner, Settings
from bench.systems.talker.motion_model import MotionModel
from bench.systems.talker.references import _first_picture, heard
from bench.systems.talker.render import Renderer, network_input
from bench.systems.talker.speech_llm import SpeechLLM
from bench.systems.talker.stop import StopPredictor
from bench.systems.talker.system import Talker

BATCH = 8  # requests: the command line's
Clips = list[dict[str, Any]]
Made = dict[str, Any]  # "latents" float32 (L, C) and their "wave" int16 (N,); "frames" uint8 (T, H, W, 3)


class Plain:
    """See ``reference_way``. The sound is made by the same lines as ours: the script's own codec has no small form."""

    def __init__(self, task: str, settings: Settings, files: parts.TinyFiles, passes: int) -> None:
        self._task, self._settings = task, settings
        model = parts.tiny_llm(files, "cpu")
        self._planner, self._talker = Planner(model.config, settings), PlainTalker(model, settings, passes)
        self._front = parts.tiny_front(files, "cpu")
        motion = parts._tiny(lambda: MotionModel(tiny.LIA), files.motion, "motion", weight_files.TINY_MOTION)
        self._renderer, self._size = PlainRenderer(motion.generator), motion.generator.sizes.size
        self._view, self._table = FaceView(DlibDetector()), parts.text_table("tiny")
        self._ahead = tiny.AHEAD * model.config.patch_size  # frames

    def __call__(self, clips: Clips) -> list[Made]:
        """One after the other."""
        return [self._one(clip) for clip in clips]

    def _one(self, clip: Mapping[str, Any]) -> Made:
        front, made = self._front, {}
        picture = _first_picture(Path(clip["video"]))
        box = self._view.box(picture)
        z, maps, alpha = self._renderer.identity(network_input(seen(picture, box, self._size)[None]))
        speech, motion = self._talker.generate(self._asked(clip, front.stats.normalised(alpha)[0]))
        if self._task == "t2av":
            made |= {"latents": speech.numpy(), "wave": _int16(front.sound(speech))}
        if self._task == "a2v":
            motion = motion[self._ahead :][: clip["n"]]
        codes = front.stats.raw(motion)
        frames = self._renderer.frames(z, maps, codes)
        return {**made, "frames": np.stack([self._view.finished(picture, box, one) for one in frames])}

    def _asked(self, clip: Mapping[str, Any], first: torch.Tensor) -> Asked:
        front, config = self._front, self._planner.config
        seed = int(_request(clip, self._task).generator().integers(0, 2**63 - 1, 1)[0])  # of the only piece of a text
        if self._task == "a2v":
            known = front.speech(heard(Path(clip["audio"])))
            ids = torch.tensor(self._table.driven_ids(by_mouth=False))
            known = torch.cat([known, known[-1:].expand(self._ahead, -1)])
            bound = -(-len(known) // config.patch_size)
            return Asked(ids, torch.zeros(config.speaker_dim), first, bound, seed, known)
        voice = heard(Path(clip["voice"]))
        counts = self._planner.counts(len(front.speech(voice)), clip["reference"])
        bound = self._settings.max_patches or counts.max_new_patches
        ids = torch.tensor(self._table.ids(clip["text"]))
        return Asked(ids, front.voice(voice), first, bound, seed)


def ours(system: Talker, task: str, clips: Clips) -> list[Made]:
    """In batches, as the command line gives them."""
    found: list[Any] = []
    latents: dict[int, Any] = {}
    with _kept_latents(latents):
        for start in range(0, len(clips), BATCH):
            requests = [_request(clip, task) for clip in clips[start : start + BATCH]]
            found += [(request, one) for request, one in zip(requests, system.generate(requests), strict=True)]
    made: list[Made] = [{"frames": one.video} for _, one in found]
    for both, (request, one) in zip(made, found, strict=True):
        if one.audio is not None:
            both |= {"latents": latents[request.seed], "wave": _int16(one.audio.samples)}
    return made


@contextmanager
def _kept_latents(latents: dict[int, Any]) -> Iterator[None]:
    """While it lasts, the pipeline's latents are kept by the seed of their clip: what is made of them is sound."""
    sound = pipeline.Pipeline._sound

    def kept(self: pipeline.Pipeline, work: Any) -> Any:
        latents[work.request.seed] = torch.cat(work.speech).numpy()
        return sound(self, work)

    pipeline.Pipeline._sound = kept  # type: ignore[method-assign]
    try:
        yield
    finally:
        pipeline.Pipeline._sound = sound  # type: ignore[method-assign]


def _int16(samples: Any) -> Any:
    return np.round(np.clip(samples, -1, 1) * 32767).astype(np.int16)


def _request(clip: Mapping[str, Any], task: str) -> Request:
    identity = {"identity": Path(clip["video"]), "identity_key": clip["video"]}
    if task == "a2v":
        return Request(clip["key"], "a2v", clip["seed"], audio=Path(clip["audio"]), n_frames=clip["n"], **identity)
    voice = {"voice": Path(clip["voice"]), "voice_key": clip["voice"]}
    return Request(clip["key"], "t2av", clip["seed"], text=clip["text"], **voice, **identity)


class Shares:
    """Processor seconds of named parts, each without the others that it calls."""

    PARTS = (
        (pipeline.Pipeline, "_work", "references"),
        (FaceView, "box", "face search"),
        (Backbone, "prefill", "backbone"),
        (Backbone, "step", "backbone"),
        (CFM, "sample", "heads"),
        (SpeechLLM, "speech_tokens", "patch encoders"),
        (SpeechLLM, "motion_tokens", "patch encoders"),
        (StopPredictor, "forward", "stop predictor"),
        (TinyFront, "sound", "sound"),
        (Renderer, "video", "renderer"),
        (FaceView, "finished", "pasting"),
    )

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._open = ["the loop, the rest"]
        self._since = 0.0

    @contextmanager
    def taken(self) -> Iterator[None]:
        """While it lasts, the time of these parts is counted."""
        kept = [(owner, name, getattr(owner, name)) for owner, name, _ in self.PARTS]
        for owner, name, label in self.PARTS:
            setattr(owner, name, self._counted(getattr(owner, name), label))
        self._since = time.process_time()
        try:
            yield
            self._turn()
        finally:
            for owner, name, work in kept:
                setattr(owner, name, work)

    def _turn(self) -> None:
        now = time.process_time()
        self.seconds[self._open[-1]] += now - self._since
        self._since = now

    def _counted(self, work: Callable[..., Any], label: str) -> Callable[..., Any]:
        @functools.wraps(work)
        def counted(*given: Any, **named: Any) -> Any:
            self._turn()
            self._open.append(label)
            try:
                return work(*given, **named)
            finally:
                self._turn()
                self._open.pop()

        return counted


def main() -> None:
    """See the module."""
    job = json.loads(Path(sys.argv[1]).read_text())
    if job["threads"]:
        torch.set_num_threads(job["threads"])
    system = Talker({"tier": "embedded", "tasks": job["task"], **job["settings"]})
    if job["way"] == "plain":
        work: Callable[[Clips], list[Made]] = Plain(
            job["task"], system._settings("cpu"), system._files(), job["passes"]
        )
    else:
        system.load("cpu", "float32")
        work = functools.partial(ours, system, job["task"])
    work([job["warm"]])
    (part, count), made = job["part"], {}
    mine: Clips = job["clips"][part::count]

    def whole() -> None:
        made.update(zip((clip["key"] for clip in mine), work(mine), strict=True))

    shares = Shares()
    if job["shares"]:
        with shares.taken():
            taken = timed(whole)
    else:
        taken = (gate if job.get("gated") else timed)(whole)
    np.savez(job["outputs"], **{f"{key} {kind}": one for key, both in made.items() for kind, one in both.items()})
    found = {"wall": taken.wall, "cpu": taken.cpu, "peak_mb": peak_mb(), "shares": dict(shares.seconds)}
    print(json.dumps({**found, "threads": torch.get_num_threads()}))


if __name__ == "__main__":
    main()
