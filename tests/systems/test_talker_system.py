"""The system ``talker`` whole: lengths, batches, prefixes, long text, bad input, what is missing."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hier_small import voice
from pydantic import ValidationError
from safetensors.torch import save_file
from talker_small import HOP, RATE, SMALL, Detector, asked, film, loaded, own_weights, pictures, sound

from bench import media
from bench.api import Failure, Request
from bench.errors import DataError, NotHereError, UsageError
from bench.networks import OFFICIAL
from bench.systems.talker import parts, weight_files
from bench.systems.talker.lia import Generator
from bench.systems.talker.motion_file import read_motion
from bench.systems.talker.pipeline import joined
from bench.systems.talker.speaker_encoder import SpeakerEncoder
from bench.systems.talker.speech_llm import SpeechLLM
from bench.systems.talker.system import Talker
from bench.systems.talker.text import MOUTH, START, WHOLE
from bench.systems.talker.whisperx_vae import WhisperXVAE

TEXT = "Bin red."
PATCHES = 2  # of a text, by the settings of the small system
#: A row in a batch against the same row alone.
ALIKE: dict[str, Any] = {"rtol": 1e-3, "atol": 1e-4}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def system() -> Talker:
    return loaded(gt_prefix_seconds=0)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("talker")
    for name, frames in (("film", 8), ("odd", 10), ("long", 30)):
        film(folder, frames, name)
    for name, seconds in (("voice", 1.0), ("other", 0.7), ("drive", 0.4)):
        voice(folder, seconds, name=name)
    media.write_png(folder / "face.png", np.full((40, 50, 3), 90, np.uint8))
    return folder


def request_of(task: str, world: Path, text: str | None = TEXT, **changes: Any) -> Request:
    """A sound request of each task."""
    fields: dict[str, Any] = {
        "t2av": {"text": text, "voice": world / "voice.wav", "identity": world / "film.mp4"},
        "tts": {"text": text, "voice": world / "voice.wav"},
        "a2v": {"audio": world / "drive.wav", "identity": world / "film.mp4", "n_frames": 10},
        "vts": {"video": world / "odd.mp4", "voice": world / "voice.wav", "n_frames": 10},
        "dub": {"video": world / "odd.mp4", "voice": world / "voice.wav", "text": text, "n_frames": 10},
    }[task]
    return asked(task, **{**fields, **changes})


def failed(result: object, kind: str) -> Failure:
    assert isinstance(result, Failure), result
    assert result.kind == kind
    return result


def test_every_task_makes_its_streams(system: Talker, world: Path) -> None:
    tasks = ("t2av", "tts", "a2v", "vts", "dub")
    both, spoken, shown, heard, dubbed = system.generate([request_of(task, world) for task in tasks])
    assert len(sound(both)) == 4 * PATCHES * HOP
    assert pictures(both).shape == (4 * PATCHES, 64, 64, 3)
    assert len(sound(spoken)) == 4 * PATCHES * HOP
    assert spoken.video is None  # type: ignore[union-attr]
    assert pictures(shown).shape == (10, 64, 64, 3)  # no whole number of patches
    assert shown.audio is None  # type: ignore[union-attr]
    assert len(sound(heard)) == len(sound(dubbed)) == 10 * HOP
    assert both.audio.rate == RATE  # type: ignore[union-attr]
    assert np.isfinite(sound(both)).all()


def test_a_batch_changes_nothing(system: Talker, world: Path) -> None:
    requests = [request_of("t2av", world), request_of("vts", world), request_of("a2v", world)]
    requests += [request_of("tts", world, voice=world / "other.wav"), request_of("dub", world, "place blue")]
    together = system.generate(requests)
    again = system.generate(requests[::-1])[::-1]
    for request, one, other in zip(requests, together, again, strict=True):
        alone = system.generate([request])[0]
        if request.task in {"t2av", "a2v"}:
            assert np.abs(pictures(one).astype(int) - pictures(alone)).max() <= 1
            assert np.abs(pictures(one).astype(int) - pictures(other)).max() <= 1
        if request.task != "a2v":
            np.testing.assert_allclose(sound(one), sound(alone), **ALIKE)
            np.testing.assert_allclose(sound(one), sound(other), **ALIKE)


def test_few_slots_change_nothing(world: Path) -> None:
    requests = [request_of(task, world) for task in ("tts", "vts", "tts")]
    requests[2] = request_of("tts", world, "set blue")
    wide, narrow = (loaded(gt_prefix_seconds=0, slots=slots).generate(requests) for slots in (8, 1))
    for one, other in zip(wide, narrow, strict=True):
        np.testing.assert_allclose(sound(one), sound(other), **ALIKE)


def test_the_backbone_may_be_in_bfloat16_as_the_official_one_is(system: Talker, world: Path) -> None:
    request = request_of("tts", world)
    half = loaded(gt_prefix_seconds=0, backbone="bfloat16").generate([request])[0]
    error = np.abs(sound(half) - sound(system.generate([request])[0])).max()
    assert 0 < error < 0.1


def test_what_was_cut_off_is_said() -> None:
    assert "0.5 s of the reference, which are cut off" in Talker().note_for("t2av")
    assert "first 2 s are" in Talker({"gt_prefix_seconds": 2, "keep_prefix": True}).note_for("tts")
    assert "nothing begins" in Talker({"tier": "embedded"}).note_for("t2av")
    assert Talker().note_for("vts") == ""


def test_the_seed_decides(system: Talker, world: Path) -> None:
    request = request_of("tts", world)
    one, same, other = system.generate([request, request, replace(request, seed=8)])
    np.testing.assert_allclose(sound(one), sound(same), **ALIKE)
    assert np.abs(sound(one) - sound(other)).max() > 1e-3


def test_vts_never_reads_text(system: Talker, world: Path) -> None:
    without, given = system.generate([request_of("vts", world), request_of("vts", world, text="place red")])
    np.testing.assert_allclose(sound(without), sound(given), **ALIKE)
    dubbed = system.generate([request_of("dub", world, "place red")])[0]
    assert np.abs(sound(dubbed) - sound(without)).max() > 1e-4


def test_the_prefix_is_cut_off_unless_it_is_kept(world: Path) -> None:
    request = request_of("t2av", world, identity=world / "long.mp4")
    cut = loaded().generate([request])[0]
    kept = loaded(keep_prefix=True).generate([request])[0]
    frames = 12  # of half a second, whole patches
    assert len(sound(cut)) == 4 * PATCHES * HOP
    assert len(sound(kept)) == (4 * PATCHES + frames) * HOP
    assert len(pictures(kept)) == 4 * PATCHES + frames
    np.testing.assert_array_equal(sound(kept)[frames * HOP :], sound(cut))
    np.testing.assert_array_equal(pictures(kept)[frames:], pictures(cut))


def test_a_prefix_longer_than_its_reference_is_all_of_it(world: Path) -> None:
    system = loaded(gt_prefix_seconds=5, keep_prefix=True)
    both, spoken = system.generate([request_of("t2av", world), request_of("tts", world)])
    assert len(pictures(both)) == 8 + 4 * PATCHES  # the film has 8 frames
    assert len(sound(both)) == (8 + 4 * PATCHES) * HOP
    assert len(sound(spoken)) >= (25 + 4 * PATCHES) * HOP  # the voice has a second


@pytest.mark.parametrize("prefix", [0.0, 0.5])
def test_a_portrait_is_an_identity(world: Path, prefix: float) -> None:
    system = loaded(gt_prefix_seconds=prefix)
    both, shown = system.generate([request_of(task, world, identity=world / "face.png") for task in ("t2av", "a2v")])
    assert len(pictures(both)) == 4 * PATCHES
    assert len(pictures(shown)) == 10


@pytest.mark.parametrize("prefix", [0.0, 0.2])
def test_long_text_is_spoken_piece_by_piece(world: Path, prefix: float) -> None:
    system = loaded(gt_prefix_seconds=prefix, longest_text=12)
    text = "Bin red now. Set blue by. Lay it in."
    both, spoken, short = system.generate(
        [request_of("t2av", world, text), request_of("tts", world, text), request_of("tts", world, "Bin red now.")]
    )
    assert len(sound(both)) == len(sound(spoken)) == 3 * len(sound(short))
    assert len(pictures(both)) * HOP == len(sound(both))


@pytest.mark.parametrize("task", ["a2v", "vts", "dub"])
def test_what_is_driven_for_long_keeps_its_length(world: Path, task: str) -> None:
    voice(world, 2.3, name="lecture")
    film(world, 58, "lecture")
    changes = {"audio": world / "lecture.wav"} if task == "a2v" else {"video": world / "lecture.mp4"}
    request = request_of(task, world, "place red by nine", n_frames=58, **changes)
    (made,) = loaded(gt_prefix_seconds=0, longest_seconds=1).generate([request])
    assert (len(pictures(made)) if task == "a2v" else len(sound(made)) / HOP) == 58


@pytest.mark.parametrize("text", ["", "   ", "?!", "你好", None])
@pytest.mark.parametrize("task", ["t2av", "tts", "dub"])
def test_a_text_with_nothing_to_say_fails(system: Talker, world: Path, task: str, text: str | None) -> None:
    bad, good = system.generate([request_of(task, world, text), request_of("tts", world)])
    failed(bad, "empty_reference")
    assert len(sound(good))


def test_mixed_languages_are_spoken_as_far_as_the_table_goes(system: Talker, world: Path) -> None:
    mixed, plain = system.generate([request_of("tts", world, "bin 你好 red"), request_of("tts", world, "bin red")])
    np.testing.assert_allclose(sound(mixed), sound(plain), **ALIKE)


def test_a_text_beyond_the_model_fails_for_a_driving_video(system: Talker, world: Path) -> None:
    bad, good = system.generate([request_of("dub", world, "red " * 400), request_of("dub", world)])
    assert "too long" in failed(bad, "model_error").detail
    assert len(sound(good)) == 10 * HOP


@pytest.mark.parametrize("task", ["t2av", "tts", "vts", "dub"])
def test_silent_and_absent_voices_fail(system: Talker, world: Path, task: str) -> None:
    silent = voice(world, 1.0, gain=0.0, name="silent")
    bad, none = system.generate([request_of(task, world, voice=silent), request_of(task, world, voice=None)])
    failed(bad, "silent_audio")
    failed(none, "missing_reference")


def test_absent_media_fail_alone(system: Talker, world: Path) -> None:
    requests = [
        request_of("t2av", world, identity=None),
        request_of("a2v", world, audio=None),
        request_of("vts", world, video=None),
        request_of("tts", world),
    ]
    *bad, good = system.generate(requests)
    for result in bad:
        failed(result, "missing_reference")
    assert len(sound(good))


def test_no_face_fails_where_a_face_is_looked_for(world: Path, tmp_path: Path) -> None:
    pytest.importorskip("dlib")
    system = Talker({"tier": "embedded", **own_weights(tmp_path), "steps": 1})
    system.load("cpu", "float32")
    shown, heard, good = system.generate([request_of("a2v", world), request_of("vts", world), request_of("tts", world)])
    failed(shown, "no_face")
    failed(heard, "no_face")
    assert len(sound(good)) % 640 == 0


def test_tier_embedded_runs_on_own_weights(world: Path, tmp_path: Path) -> None:
    own = own_weights(tmp_path)
    system = Talker({"tier": "embedded", **own, "steps": 1, "max_seconds": 0.4}, detect=Detector())
    assert system.missing() == []
    system.load("cpu", "float32")
    both, heard = system.generate([request_of("t2av", world), request_of("vts", world)])
    assert pictures(both).shape[1:] == (64, 64, 3)  # pasted into the frame
    assert len(pictures(both)) * 640 == len(sound(both))
    assert len(sound(heard)) == 10 * 640
    before = system.fingerprint()
    own_weights(tmp_path, seed=1)
    assert system.fingerprint() != before  # by content


@pytest.mark.parametrize("task", ["vts", "dub"])
def test_speech_to_a_moving_mouth_has_silence_around_it(
    world: Path, tmp_path: Path, task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = Talker({"tier": "embedded", **own_weights(tmp_path), "steps": 1}, detect=Detector())
    system.load("cpu", "float32")
    pipeline = system._pipeline
    assert pipeline is not None
    front, heard, begun = pipeline._front, [], []
    sounded, planned = front.sound, pipeline._planner.plan
    monkeypatch.setattr(front, "mouth_span", lambda codes: (9, 15))
    monkeypatch.setattr(front, "sound", lambda latents: heard.append(latents) or sounded(latents))

    def plan(mode: Any, ids: torch.Tensor, *rest: Any, **named: Any) -> Any:
        begun.append(int(ids[0]))
        return planned(mode, ids, *rest, **named)

    monkeypatch.setattr(pipeline._planner, "plan", plan)
    (made,) = system.generate([request_of(task, world, video=world / "long.mp4", n_frames=30)])
    assert len(sound(made)) == 30 * 640
    (latents,) = heard
    silence = latents[0]
    alike = [bool(torch.equal(row, silence)) for row in latents]
    assert alike == [True] * 5 + [False] * 16 + [True] * 9  # 9 - 4 to 15 + 4, whole patches
    monkeypatch.setattr(front, "mouth_span", lambda codes: None)
    (made,) = system.generate([request_of(task, world, video=world / "long.mp4", n_frames=30)])
    assert len(sound(made)) == 30 * 640
    assert begun == ([START, WHOLE] if task == "dub" else [MOUTH, MOUTH])


def test_own_weights_are_for_tier_embedded() -> None:
    with pytest.raises(NotHereError, match="embedded"):
        Talker({"joint": "x.safetensors"})
    with pytest.raises(NotHereError, match="follow"):
        Talker({"follow": "mouth"})


def test_everything_that_is_missing_is_listed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    lines = "\n".join(Talker().missing())
    for file in weight_files.CANONICAL:
        assert f"bench weights add FILE --as {file.name}" in lines
    assert weight_files.SPEAKER.name not in "\n".join(Talker({"tasks": "a2v"}).missing())
    assert weight_files.LIA_X.name not in "\n".join(Talker({"tasks": "tts"}).missing())


def test_unknown_settings_are_refused() -> None:
    for settings in ({"steps": 0}, {"tasks": "sing"}, {"cfg": -1}):
        with pytest.raises(ValidationError):
            Talker(settings)


def test_motion_files(tmp_path: Path) -> None:
    codes = torch.arange(200.0).reshape(5, 40).half()
    save_file({"motion": codes}, tmp_path / "a.safetensors")
    torch.save(codes, tmp_path / "b.pt")
    for name in ("a.safetensors", "b.pt"):
        assert torch.equal(read_motion(tmp_path / name, 16), codes[:, :16].float())
    for name, wrong in {"rows": codes[:3], "narrow": codes[:, :8], "flat": codes[0], "nan": codes * torch.nan}.items():
        torch.save(wrong, tmp_path / f"{name}.pt")
        with pytest.raises(DataError):
            read_motion(tmp_path / f"{name}.pt", 16)
    save_file({"other": codes}, tmp_path / "c.safetensors")
    with pytest.raises(DataError, match="no tensor `motion`"):
        read_motion(tmp_path / "c.safetensors", 16)
    with pytest.raises(UsageError, match="no such file"):
        read_motion(tmp_path / "none.pt", 16)


class _Evil:
    """Would leave a file behind, if it were unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("bare", [True, False])
def test_a_pickle_as_motion_file_is_refused_and_not_run(tmp_path: Path, bare: bool) -> None:
    path, left = tmp_path / "motion.pt", tmp_path / "was-run"
    if bare:
        path.write_bytes(pickle.dumps(_Evil(left)))
    else:
        torch.save({"motion": torch.zeros(8, 40), "more": _Evil(left)}, path)
    with pytest.raises(DataError, match="refused"):
        read_motion(path, 40)
    lines = Talker({"motion_file": str(path), "tasks": "t2av"}).missing()
    assert any("motion_file" in line for line in lines)
    assert not left.exists()


def test_a_motion_file_takes_the_place_of_the_video_s_motion(system: Talker, world: Path, tmp_path: Path) -> None:
    torch.save(torch.randn(20, 16, generator=torch.Generator().manual_seed(0)), tmp_path / "m.pt")
    with_file = loaded(gt_prefix_seconds=0, motion_file=str(tmp_path / "m.pt"))
    assert "motion_file=" in with_file.fingerprint()
    one, other = with_file.generate([request_of("t2av", world)])[0], system.generate([request_of("t2av", world)])[0]
    assert np.abs(sound(one) - sound(other)).max() > 1e-5


def test_pieces_of_sound_meet_in_silence() -> None:
    wave = joined([np.ones(100, np.float32), np.ones(50, np.float32)], 10)
    assert len(wave) == 150
    assert wave[0] == wave[-1] == 1.0
    assert wave[99] == wave[100] == 0.0
    assert wave[:89].min() == 1.0


def test_nothing_is_generated_before_load(world: Path) -> None:
    with pytest.raises(RuntimeError, match="load"):
        Talker({"tier": "embedded"}).generate([request_of("tts", world)])


def test_unscorable_media_are_failures(system: Talker, world: Path) -> None:
    broken = world / "broken.wav"
    broken.write_bytes(b"no sound")
    bad, good = system.generate([request_of("tts", world, voice=broken), request_of("tts", world)])
    assert isinstance(bad, Failure)
    assert len(sound(good))


def test_official_files_become_the_networks_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every network is built without numbers and takes those of its file; none is copied, none is left without."""
    makes = {
        weight_files.SPEECH_LLM: lambda: SpeechLLM(SMALL.llm),
        weight_files.VAE: lambda: WhisperXVAE(SMALL.vae),
        weight_files.LIA_X: lambda: Generator(SMALL.lia),
        weight_files.SPEAKER: lambda: SpeakerEncoder(SMALL.speaker),
    }
    for file, make in makes.items():
        given = dict(make().state_dict())
        monkeypatch.setattr(parts, "mapped", lambda weight, given=given: dict(given))
        network = parts._official(make, file, OFFICIAL)  # type: ignore[type-var]
        for name, tensor in network.state_dict().items():
            assert tensor.data_ptr() == given[name].data_ptr(), name
        assert not any(p.requires_grad for p in network.parameters())
        lacking = dict(list(given.items())[1:-1])
        monkeypatch.setattr(parts, "mapped", lambda weight, lacking=lacking: dict(lacking))
        with pytest.raises(DataError, match=r"do not fit|without numbers"):
            parts._official(make, file, OFFICIAL)  # type: ignore[type-var]
