"""One way of one subject of :mod:`speed_hier` in a process of its own: ``hier_way.py JOB``; prints JSON.

A job names ``subject`` (``tts``, ``wav2lip`` or ``face``), ``way`` (``plain`` or ``ours``), ``tier``, ``settings``,
``runs`` (how often the clips are gone through), ``clips``, ``outputs``, the file for what was made, and ``cache``, the
folder for what is kept. Loading is not timed. With ``part`` = [i, n] it is one of n processes that share the clips, in
every run another share, and that begin together (``speed_kit.side_by_side``); ``threads`` 0: torch's default.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from speed_kit import gate, peak_mb, timed

sys.path.insert(0, str(Path(__file__).parent / "reference_way"))

import faces
from hierspeech import PlainSpeech

from bench.embedded import EMBEDDED
from bench.faces.boxes import Pads
from bench.faces.detect import DlibDetector
from bench.networks import Seeded
from bench.records import Request
from bench.systems.hierspeech import requirements
from bench.systems.hierspeech.face.generator import TTVFace
from bench.systems.hierspeech.face.talk import Picture, TalkingFace
from bench.systems.hierspeech.parts import TINY, Networks, Sizes
from bench.systems.hierspeech.speechsr import SpeechSr
from bench.systems.hierspeech.synthesizer import Synthesizer
from bench.systems.hierspeech.system import HierSpeech
from bench.systems.hierspeech.ttv import TextToVec
from bench.systems.wav2lip.generator import GeneratorSizes, Wav2LipGenerator
from bench.systems.wav2lip.system import Wav2Lip
from bench.weights import locate

BATCH = 8  # requests: the command line's
GAINS = {"synthesizer": 0.25, "face": 2.0, "silent_face": 1.5}
Clips = list[dict[str, Any]]
#: What a way does with all clips; a result per clip, arrays or None.
Work = Callable[[Clips], list[Any]]


def source(tier: str, parts: tuple[str, ...]) -> tuple[Any, requirements.Files, str]:
    """The shipped files where they are there, else the rule, and which of the two."""
    files = requirements.EMBEDDED if tier == "embedded" else requirements.CANONICAL
    shipped = tier == "embedded" and all(locate(getattr(files, part)) is not None for part in parts)
    seeded = Seeded({getattr(files, part).name: gain for part, gain in GAINS.items()})
    return (EMBEDDED if shipped else seeded), files, "shipped weights" if shipped else "weights by rule"


def speech(way: str, tier: str, settings: Mapping[str, Any]) -> tuple[Work, str]:
    """Text to speech: int16 samples per clip."""
    weights, files, told = source(tier, ("ttv", "synthesizer"))
    if way == "ours":
        system = HierSpeech({"tier": tier, "tasks": "tts", **settings}, weights)
        system.load("cpu", "float32")
        return lambda clips: _batches(system, clips), told
    sizes = TINY if tier == "embedded" else Sizes()
    networks = Networks(weights, sizes, "cpu", "float32", files)
    ttv = weights.fill(TextToVec(sizes.ttv), files.ttv)
    synthesizer = weights.fill(Synthesizer(sizes.synthesizer, sizes.whole_synthesizer), files.synthesizer)
    rate, ratio = int(settings.get("output_rate", 16000)), float(settings.get("denoise_ratio", 0))
    file = requirements.weight_files.SPEECHSR.get(rate)
    finer = None if file is None else weights.fill(SpeechSr(sizes.speechsr, rate), file)
    plain = PlainSpeech(ttv, synthesizer, finer, networks.denoiser if ratio else None, ratio)
    return lambda clips: [_said(plain, clip) for clip in clips], told


def _batches(system: HierSpeech, clips: Clips) -> list[Any]:
    found: list[Any] = []
    for start in range(0, len(clips), BATCH):
        found += system.generate([_request(clip) for clip in clips[start : start + BATCH]])
    return [np.round(made.audio.samples * 32768).astype(np.int16) for made in found]


def _request(clip: Mapping[str, Any]) -> Request:
    voice = Path(clip["voice"])
    return Request(clip["key"], "tts", clip["seed"], text=clip["text"], voice=voice, voice_key=str(voice))


def _said(plain: PlainSpeech, clip: Mapping[str, Any]) -> Any:
    seed = int(_request(clip).generator().integers(0, 2**63 - 1, 1)[0])  # as the system seeds the only piece of a text
    return plain.say(clip["text"], Path(clip["voice"]), seed)


def dubbing(way: str, tier: str, settings: Mapping[str, Any]) -> tuple[Work, str]:
    """Wav2Lip: frames per clip; faces by dlib."""
    system = Wav2Lip({"tier": tier, "detector": "dlib", **settings}, Seeded({}))
    shipped = tier == "embedded" and locate(system.weights[0]) is not None
    weights: Any = EMBEDDED if shipped else Seeded({system.weights[0].name: 2.0})
    told = "shipped weights" if shipped else "weights by rule"
    if way == "ours":
        ready = Wav2Lip({"tier": tier, "detector": "dlib", **settings}, weights)
        ready.load("cpu", "float32")
        return lambda clips: [getattr(made, "video", None) for made in ready.generate([_dub(c) for c in clips])], told
    from bench.systems.wav2lip.training_options import SIZES

    sizes = SIZES["tiny"].sizes if tier == "embedded" else GeneratorSizes()
    network, detect = weights.fill(Wav2LipGenerator(sizes), system.weights[0]), DlibDetector()
    return lambda clips: [faces.wav2lip(network, detect, Path(c["video"]), Path(c["audio"])) for c in clips], told


def _dub(clip: Mapping[str, Any]) -> Request:
    video, audio = Path(clip["video"]), Path(clip["audio"])
    return Request(clip["key"], "a2v", clip["seed"], audio=audio, identity=video, identity_key=clip["video"])


def talking(way: str, tier: str, settings: Mapping[str, Any]) -> tuple[Work, str]:
    """The talking face, driven by given features: frames per clip; faces by dlib."""
    weights, files, told = source(tier, ("face", "silent_face"))
    sizes = TINY if tier == "embedded" else Sizes()
    if way == "ours":
        networks = Networks(weights, sizes, "cpu", "float32", files)
        picture = Picture(None, Pads(), True, 0, 32, "generator")
        made = TalkingFace(networks.face, networks.silent_face, DlibDetector(), picture)
        return lambda clips: [
            made.video(_heard(c, sizes), c["n"], Path(c["video"]), c["video"], None) for c in clips
        ], told
    face, silent = (weights.fill(TTVFace(sizes.face), file) for file in (files.face, files.silent_face))
    detect = DlibDetector()
    return lambda clips: [
        faces.talking(face, silent, detect, Path(c["video"]), _heard(c, sizes), c["n"]) for c in clips
    ], told


def _heard(clip: Mapping[str, Any], sizes: Sizes) -> torch.Tensor:
    draw = torch.Generator().manual_seed(clip["seed"])
    return torch.randn(2 * clip["n"], sizes.face.features, generator=draw)


SUBJECTS = {"tts": speech, "wav2lip": dubbing, "face": talking}


def main() -> None:
    """See the module."""
    job = json.loads(Path(sys.argv[1]).read_text())
    if job["threads"]:
        torch.set_num_threads(job["threads"])
    os.environ["BENCH_CACHE"] = job["cache"]  # no faces of earlier measurements
    part, parts = job["part"]
    clips: Clips = job["clips"]
    made: dict[str, Any] = {}
    taken = []
    for turn in range(job["runs"]):  # every run makes its networks anew, as the harness does
        work, told = SUBJECTS[job["subject"]](job["way"], job["tier"], job["settings"])
        work([clips[0]["warm"]])  # compiles, fills pools
        mine = clips[(part + turn) % parts :: parts]

        def whole(work: Work = work, mine: Clips = mine) -> None:
            made.clear()
            made.update(zip((clip["key"] for clip in mine), work(mine), strict=True))

        taken.append((gate if parts > 1 or not job["threads"] else timed)(whole))
    np.savez(job["outputs"], **{key: one for key, one in made.items() if one is not None})
    runs = [(one.wall, one.cpu) for one in taken]
    print(json.dumps({"runs": runs, "peak_mb": peak_mb(), "weights": told, "threads": torch.get_num_threads()}))


if __name__ == "__main__":
    main()
