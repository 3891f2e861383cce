"""Stores with real, small media, answers as the page writes them, and visits of the page."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench import cli, media
from bench.api import Audio, Clip
from bench.results.study import key as keys
from bench.results.study.answers import Trial, checksum
from bench.results.study.key import Key
from bench.store import Store
from bench.store_records import OutputRecord, RunClip, RunRecord

SYSTEMS = ("talker", "hicodit", "ground-truth")
RATE = 16000
SECONDS = 0.4
CLIPS = 6


def sha(*parts: object) -> str:
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()


def picture(seed: int, size: int = 48) -> np.ndarray:
    """A grey square that moves, (T, H, W, 3)."""
    frames = np.full((round(SECONDS * 25), size, size, 3), 60 + seed % 100, np.uint8)
    for t, frame in enumerate(frames):
        frame[10:20, t : t + 10] = 220
    return frames


def sound(seed: int, rate: int = RATE) -> Audio:
    """A tone whose level and pitch depend on the seed."""
    t = np.arange(round(SECONDS * rate)) / rate
    return Audio((0.02 * (1 + seed % 20) * np.sin(2 * np.pi * (200 + 10 * seed) * t)).astype(np.float32), rate)


def add_run(store: Store, system: str, n: int = CLIPS, **fields: Any) -> RunRecord:
    """A run of task ``t2av`` (unless said) over ``clip0`` …, with outputs of its own."""
    named = {
        "version": "1", "tier": "control" if system == "ground-truth" else "embedded", "dataset": "toy",
        "split": "test", "task": "t2av", "pairing": "", "audio": "", "reference": "other", "n_split": n, **fields,
    }  # fmt: skip
    run = RunRecord(id=sha(system, sorted(named.items(), key=str))[:16], system=system, **named)
    store.add_run(run)
    for i in range(n):
        clip = RunClip(f"clip{i}", f"speaker{i % 2}", sha("reference", i), SECONDS)
        store.add_run_clips(run.id, [clip])
        add_output(store, run, clip.clip_id, len(system) + i)
    return run


def add_output(store: Store, run: RunRecord, clip_id: str, seed: int) -> None:
    """Media that the task makes, as a system would have made them."""
    stage, files = store.stage_dir(), {}
    if run.task in {"t2av", "a2v"}:
        files["video"] = stage / "v.mp4"
        media.write_video(files["video"], picture(seed))
    if run.task != "a2v":
        files["audio"] = stage / "a.wav"
        media.write_audio(files["audio"], sound(seed, 22050 if run.system == "hicodit" else RATE))
    store.add_output(OutputRecord(run.id, clip_id, "ok", sha(run.id, clip_id), media_seconds=SECONDS), files)


def bench(capsys: Any, *arguments: object) -> tuple[int, str, str]:
    """Run the command line: exit code, what it printed, what it said on stderr."""
    capsys.readouterr()
    code = cli.invoke([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


Opinion = Callable[[str, str, str], float]  # (participant, question, label of the system) -> value


def opinion(person: str, question: str, label: str) -> float:
    """What everybody here thinks, one half step apart by person."""
    liked = {"ground-truth": 4.0, "hicodit": 3.0, "talker": 2.0}[label]
    return liked + (0.5 if question == "sync" else 0.0) + (0.5 if ord(person[0]) % 2 else 0.0)


def filled(key: Key, person: str, thinks: Opinion = opinion) -> dict[str, Any]:
    """A whole file of answers, attentive, as the page writes it."""
    trials = []
    for stimuli in key.sheets[person]:
        trials.append({"stimuli": list(stimuli), "ratings": _ratings(key, person, stimuli, thinks), "seconds": 3.2})
    return signed({"schema": 1, "study": key.study, "participant": person, "saved": "2026-01-01", "trials": trials})


def _ratings(key: Key, person: str, stimuli: Any, thinks: Opinion) -> dict[str, float]:
    spoilt = [name in key.checks for name in stimuli]
    if key.kind == "mos":
        label = "" if spoilt[0] else key.label(key.stimuli[stimuli[0]].run)
        return {q: 1.0 if spoilt[0] else thinks(person, q, label) for q in key.questions}
    if any(spoilt):
        return {"preference": 2.0 if spoilt[0] else 1.0}
    first, second = (thinks(person, "preference", key.label(key.stimuli[name].run)) for name in stimuli)
    return {"preference": 0.0 if first == second else 1.0 if first > second else 2.0}


def signed(content: Mapping[str, Any]) -> dict[str, Any]:
    """The same with the checksum that fits."""
    trials = [Trial(tuple(t["stimuli"]), t["ratings"]) for t in content["trials"]]
    return {**content, "checksum": checksum(content["study"], content["participant"], trials)}


def write(folder: Path, name: str, content: Any) -> Path:
    """A file of answers."""
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def key_of(folder: Path) -> Key:
    """The key beside a study's folder."""
    return keys.load(folder.with_name(folder.name + ".key.json"))


def page_data(folder: Path) -> dict[str, Any]:
    """What the page holds."""
    text = (folder / "data" / "study.js").read_text(encoding="utf-8")
    return json.loads(text.removeprefix("study(").rstrip().removesuffix(");"))


def clip_of(folder: Path, i: int) -> Clip:
    """A clip of a data set with a real picture and sound."""
    from bench.api import Source

    video, audio = folder / f"clip{i}.mp4", folder / f"clip{i}.wav"
    media.write_video(video, picture(50 + i))
    media.write_audio(audio, sound(50 + i))
    return Clip(f"clip{i}", "toyset", "test", Source(video), Source(audio), "words", sha("reference", i), 10)
