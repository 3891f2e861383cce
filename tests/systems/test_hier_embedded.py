"""Tier embedded of ``hierspeech``: which files, which settings; and that its networks speak and show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hier_small import frames, samples, tts, voice
from shipped import ship_hierspeech
from system_helpers import make_clip

from bench import weights
from bench.api import Request, Task
from bench.embedded import EMBEDDED as EMBEDDED_SOURCE
from bench.errors import UsageError
from bench.records import WeightFile
from bench.systems.hierspeech.parts import TINY, Networks
from bench.systems.hierspeech.requirements import ALL, EMBEDDED, FACES
from bench.systems.hierspeech.system import HierSpeech
from bench.weights import shipped_here

pytest.importorskip("espeakng_loader")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All files, with random numbers."""
    pytest.importorskip("transformers")
    return ship_hierspeech(tmp_path_factory.mktemp("package"))


@pytest.fixture
def shipped(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(weights, "own_folder", lambda: root)
    return root


class Detector:
    """One box in every frame."""

    def __call__(self, pictures: np.ndarray) -> list[np.ndarray]:
        return [np.array([(12.0, 6.0, 44.0, 40.0, 0.9)]) for _ in pictures]


def embedded(**settings: Any) -> HierSpeech:
    return HierSpeech({"tier": "embedded", **settings}, detect=Detector())


def named(system: HierSpeech, task: Task) -> list[str]:
    return [Path(file.name).stem for file in system.weights_for(task)]


def test_it_speaks_and_shows_with_what_is_shipped(shipped: Path, tmp_path: Path) -> None:
    system = embedded(max_token_frames=2)
    system.load("cpu", "float32")
    clip = make_clip(tmp_path, "one", frames=9).clip
    assert clip.video is not None and clip.audio is not None
    spoken = tts(voice(tmp_path), "Bin red.")
    shown = Request("k", "a2v", 1, audio=clip.audio.path, identity=clip.video.path, identity_key="i", n_frames=9)
    both = Request(
        "k", "t2av", 7, text="Bin red.", voice=spoken.voice, voice_key="v", identity=clip.video.path, identity_key="i"
    )
    results = system.generate([spoken, shown, both])
    assert len(samples(results[0])) % 320 == 0
    assert np.isfinite(samples(results[0])).all()
    assert frames(results[1]).shape == (9, 48, 64, 3)
    assert len(samples(results[2])) == 640 * len(frames(results[2]))
    assert results[0].audio.rate == 16000  # type: ignore[union-attr]


def test_the_class_it_is_and_the_tier_it_says() -> None:
    assert HierSpeech.tiers == ("canonical", "embedded")
    assert (HierSpeech({}).tier, embedded().tier) == ("canonical", "embedded")
    small = {file for file in ALL if shipped_here(file)}
    assert small == {EMBEDDED.features, EMBEDDED.ttv, EMBEDDED.synthesizer, EMBEDDED.silent_face, *FACES.values()}


def test_each_task_has_its_files() -> None:
    system = embedded()
    assert named(system, "tts") == ["ttv", "synthesizer"]
    assert named(system, "t2av") == ["ttv", "synthesizer", "face", "silent_face"]
    assert named(system, "a2v") == ["features", "face", "silent_face"]
    assert named(embedded(silent="off"), "a2v") == ["features", "face"]
    assert named(HierSpeech({"tier": "embedded", "detector": "s3fd"}), "a2v")[-1] == "s3fd"
    for checkpoint, name in (("full", "face"), ("stage1", "face_stage1"), ("no_sync", "face_no_sync")):
        assert named(embedded(face_checkpoint=checkpoint), "t2av")[2] == name


def test_tasks_lack_what_is_not_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "own_folder", lambda: tmp_path)
    for file in (EMBEDDED.ttv, EMBEDDED.synthesizer):
        (tmp_path / file.name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file.name).write_bytes(b"x")
    system = embedded()
    assert system.missing_for("tts") == []
    assert [line.split(" is not here")[0].rpartition("/")[2] for line in system.missing_for("t2av")] == [
        "face.safetensors",
        "silent_face.safetensors",
    ]
    assert "make embedded" in system.missing_for("a2v")[0]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"output_rate": 24000}, "no SpeechSR is shipped"),
        ({"denoise_ratio": 0.5}, "no denoiser is shipped"),
        ({"tier": "canonical", "face_checkpoint": "stage1"}, "only tier embedded has it"),
    ],
)
def test_settings_that_the_tier_has_nothing_for(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        embedded(**settings)


def test_defaults_of_the_tier_and_settings_that_beat_them() -> None:
    needs = HierSpeech({"tier": "embedded"})._needs
    assert (needs.detector, needs.max_token_frames) == ("dlib", 60)
    needs = HierSpeech({})._needs
    assert (needs.detector, needs.max_token_frames) == ("s3fd", 100)
    needs = HierSpeech({"tier": "embedded", "detector": "s3fd", "max_token_frames": 7})._needs
    assert (needs.detector, needs.max_token_frames) == ("s3fd", 7)


def test_the_table_names_what_stands_in() -> None:
    system = HierSpeech({"tier": "embedded"})
    assert "MMS" in system.note_for("tts") and "S3FD" not in system.note_for("tts")
    assert "S3FD" in system.note_for("t2av")
    assert HierSpeech({}).note_for("t2av") == ""


@pytest.mark.parametrize("file", [file for file in ALL if shipped_here(file)], ids=lambda file: Path(file.name).stem)
def test_what_is_shipped_fits(file: WeightFile) -> None:
    """The files of this repository, not throw-away ones: strict, and every number finite."""
    pytest.importorskip("transformers")
    needs = HierSpeech({"tier": "embedded"})._needs.networks
    if file in FACES.values():
        needs = replace(needs, face=file)
    networks = Networks(EMBEDDED_SOURCE, TINY, "cpu", "float32", needs)
    made = {
        EMBEDDED.features: lambda: networks.mms,
        EMBEDDED.ttv: lambda: networks.ttv,
        EMBEDDED.synthesizer: lambda: networks.synthesizer,
        EMBEDDED.silent_face: lambda: networks.silent_face,
    }.get(file, lambda: networks.face)()
    assert all(bool(torch.isfinite(tensor).all()) for tensor in made.state_dict().values())
    assert not made.training
