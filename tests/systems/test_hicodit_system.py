"""The system ``hicodit`` whole: lengths, batches, windows, voices, what is missing and what is refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hicodit_small import HOP, QUICK, SMALL, Painted, asked, codec, gradient, own_weights, painted, sound, spoken
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from bench import registry
from bench.api import FPS, Failure, Request
from bench.errors import DataError, NotHereError, UsageError
from bench.systems.hicodit import pipeline, stages, weight_files
from bench.systems.hicodit.codec.mel_rvq import MelRvqCodec
from bench.systems.hicodit.guidance import paper_guidance
from bench.systems.hicodit.options import HiCoDiTOptions, Manner, manner_of
from bench.systems.hicodit.parts import check_codec, joined_of
from bench.systems.hicodit.sampling import Job, Sampler
from bench.systems.hicodit.settings import sampler_of
from bench.systems.hicodit.system import HiCoDiTSystem
from bench.systems.hicodit.windows import spans

#: A row in a batch against the same row alone; the tokens are equal.
ALIKE: dict[str, Any] = {"rtol": 0, "atol": 1e-6}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def system() -> HiCoDiTSystem:
    return painted()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hicodit")
    for name, frames in (("one", 1), ("short", 7), ("film", 25), ("other", 20), ("long", 90)):
        gradient(folder, frames, name)
    spoken(folder)
    spoken(folder, gain=0.1, name="second")
    return folder


def failed(result: object, kind: str) -> Failure:
    assert isinstance(result, Failure), result
    assert result.kind == kind
    return result


# ------------------------------------------------------------------------------------------------------ what is made


def test_speech_is_as_long_as_the_video(system: HiCoDiTSystem, world: Path) -> None:
    frames = {"one": 1, "short": 7, "film": 25, "other": 20}
    made = system.generate([asked(world / f"{name}.mp4", count) for name, count in frames.items()])
    assert [len(sound(result)) for result in made] == [count * HOP for count in frames.values()]
    assert all(np.abs(sound(result)).max() > 1e-4 for result in made)


@pytest.mark.parametrize("frames", [1, 24, 26, 40, None])
def test_the_length_that_is_asked_for_counts(system: HiCoDiTSystem, world: Path, frames: int | None) -> None:
    (made,) = system.generate([asked(world / "film.mp4", frames)])
    assert len(sound(made)) == (frames or 25) * HOP


def test_batch_and_order_change_nothing(system: HiCoDiTSystem, world: Path) -> None:
    names = ("film", "short", "other", "one")
    requests = [asked(world / f"{name}.mp4", seed=seed) for seed, name in enumerate(names)]
    together = system.generate(requests)
    backwards = system.generate(requests[::-1])[::-1]
    for request, one, other in zip(requests, together, backwards, strict=True):
        (alone,) = system.generate([request])
        np.testing.assert_allclose(sound(one), sound(alone), **ALIKE)
        np.testing.assert_allclose(sound(one), sound(other), **ALIKE)


def test_few_tokens_at_once_change_nothing(world: Path) -> None:
    requests = [asked(world / f"{name}.mp4") for name in ("film", "other", "short")]
    wide, narrow = (painted(frames_per_batch=most).generate(requests) for most in (8192, 1))
    for one, other in zip(wide, narrow, strict=True):
        np.testing.assert_allclose(sound(one), sound(other), **ALIKE)


def test_seed_and_video_decide(system: HiCoDiTSystem, world: Path) -> None:
    request = asked(world / "film.mp4")
    one, same, other, second = system.generate(
        [request, request, replace(request, seed=8), asked(world / "other.mp4", 25)]
    )
    np.testing.assert_allclose(sound(one), sound(same), **ALIKE)
    for changed in (other, second):
        assert np.abs(sound(one) - sound(changed)).max() > 1e-2


def test_sixteen_bits_are_the_network_s_alone(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its products are in them; draws, codec and sound are not."""
    system = painted()
    system.load("cpu", "bfloat16")
    assert system._pipeline is not None
    seen, decoded = [], []
    system._pipeline._model.low[0].qkv.register_forward_hook(lambda *call: seen.append(call[2].dtype))
    decode = MelRvqCodec.decode
    monkeypatch.setattr(
        MelRvqCodec,
        "decode",
        lambda self, codes: decoded.append(torch.is_autocast_enabled("cpu")) or decode(self, codes),
    )
    scored = stages.log_scores
    kinds = []
    monkeypatch.setattr(stages, "log_scores", lambda z, *rest: kinds.append(z.dtype) or scored(z, *rest))
    (made,) = system.generate([asked(world / "film.mp4")])
    assert len(sound(made)) == 25 * HOP
    assert set(seen) == {torch.bfloat16} and set(kinds) == {torch.float32} and decoded == [False]


def test_a_seed_of_64_bits_is_one(system: HiCoDiTSystem, world: Path) -> None:
    (made,) = system.generate([asked(world / "short.mp4", seed=2**64 - 1)])
    assert len(sound(made)) == 7 * HOP


def test_video_mode_reads_neither_text_nor_voice(system: HiCoDiTSystem, world: Path) -> None:
    request = asked(world / "film.mp4")
    told = replace(request, text="place red", voice=world / "voice.wav", voice_key="v")
    without, given = system.generate([request, told])
    np.testing.assert_array_equal(sound(without), sound(given))


def test_audio_mode_has_the_voice_of_its_reference(world: Path) -> None:
    system = painted(mode="audio")
    assert system.uses == {"voice"}
    requests = [asked(world / "film.mp4", voice=world / f"{name}.wav") for name in ("voice", "second")]
    one, other, none = system.generate([*requests, asked(world / "film.mp4")])
    assert np.abs(sound(one) - sound(other)).max() > 1e-2
    assert "voice" in failed(none, "missing_reference").detail


def test_a_voice_is_heard_once(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system, heard, hear = painted(mode="audio"), [], Painted.voice
    monkeypatch.setattr(Painted, "voice", lambda self, audio: heard.append(audio) or hear(self, audio))
    request = asked(world / "short.mp4", voice=world / "voice.wav")
    for _ in range(2):
        system.generate([request, request])
    assert len(heard) == 1
    system.generate([replace(request, voice_key=None)])
    assert len(heard) == 2


def test_nothing_is_generated_before_load_nor_of_another_task(system: HiCoDiTSystem, world: Path) -> None:
    with pytest.raises(RuntimeError, match="load"):
        HiCoDiTSystem({"tier": "embedded"}).generate([asked(world / "film.mp4")])
    with pytest.raises(RuntimeError, match="dub"):
        system.generate([Request("k", "dub", 1, video=world / "film.mp4", text="bin")])


# ------------------------------------------------------------------------------------------------------ long clips


@pytest.mark.parametrize("manner", [Manner("tiny", 4, 0.5, 4), Manner("default", 8, 1, 10), Manner("tiny", 1, 0, 1)])
@pytest.mark.parametrize("frames", [1, 25, 26, 99, 101, 250, 251, 1500])
def test_windows_cover_a_clip(manner: Manner, frames: int) -> None:
    found = spans(frames, manner)
    if frames <= manner.longest * FPS:
        assert found == [(0, frames)]
        return
    window, overlap = round(manner.window * FPS), round(manner.overlap * FPS)
    assert found[0][0] == 0
    assert found[-1][1] == frames
    assert {after - first for first, after in found} == {window}
    assert all(overlap <= before[1] - after[0] < window for before, after in pairwise(found))


def test_a_window_goes_on_from_the_tokens_of_the_one_before(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs: list[Job] = []
    drawn: list[torch.Tensor] = []
    sampled = pipeline.sample

    def noted(model: Any, some: Sequence[Job], settings: Sampler) -> list[torch.Tensor]:
        made = sampled(model, some, settings)
        jobs.extend(some)
        drawn.extend(made)
        return made

    monkeypatch.setattr(pipeline, "sample", noted)
    system = painted(window_seconds=2, overlap_seconds=0.4)
    decoded: list[torch.Tensor] = []
    decode = MelRvqCodec.decode
    monkeypatch.setattr(MelRvqCodec, "decode", lambda self, codes: decoded.append(codes) or decode(self, codes))
    (made,) = system.generate([asked(world / "long.mp4", 90)])
    assert len(sound(made)) == 90 * HOP
    assert [job.length for job in jobs] == [100, 100]  # frames 0 to 50 and 40 to 90
    first, second = jobs
    assert first.fixed is None
    assert second.fixed is not None
    assert torch.equal(second.fixed[:, :20], drawn[0][:, 80:])
    assert (second.fixed[:, 20:] == SMALL.mask).all()
    assert torch.equal(second.conditions.lip[:10], first.conditions.lip[40:])
    assert len(second.conditions.emotion) == SMALL.emotion_steps(100)
    (whole,) = decoded  # in one piece: no seam can be heard
    assert torch.equal(whole, torch.cat([drawn[0], drawn[1][:, 20:]], dim=1))


@pytest.mark.parametrize("loudest", [0.5, 3.0])
def test_no_peak_is_cut_off(world: Path, monkeypatch: pytest.MonkeyPatch, loudest: float) -> None:
    wave = torch.linspace(-loudest, loudest / 2, 30 * HOP)
    monkeypatch.setattr(MelRvqCodec, "decode", lambda self, codes: wave)
    (made,) = painted().generate([asked(world / "film.mp4", 30)])
    factor = 1.0 if loudest < 1 else 0.99 / loudest
    np.testing.assert_allclose(sound(made), wave.numpy() * factor, rtol=1e-5)


def test_a_minute_among_short_clips(world: Path) -> None:
    gradient(world, 1500, "minute")
    system = painted(steps=1)
    short, long, last = system.generate([asked(world / f"{name}.mp4") for name in ("film", "minute", "short")])
    assert [len(sound(made)) // HOP for made in (short, long, last)] == [25, 1500, 7]
    (alone,) = system.generate([asked(world / "film.mp4")])
    np.testing.assert_allclose(sound(short), sound(alone), **ALIKE)
    jumps = np.abs(np.diff(sound(long)))
    seams = [frame * HOP for _, frame in spans(1500, manner_of(HiCoDiTOptions(), "embedded"))[:-1]]
    nearby = np.concatenate([jumps[at - 40 : at + 40] for at in seams])
    assert nearby.max() <= 1.5 * np.quantile(jumps, 0.999)


# ------------------------------------------------------------------------------------------------------ settings


def test_presets_and_what_is_set_in_their_place() -> None:
    small = sampler_of(HiCoDiTOptions(), "embedded")
    assert small == Sampler.preset("tiny")
    assert sampler_of(HiCoDiTOptions(), "canonical") == Sampler.preset("default")
    for preset in ("paper", "default"):
        for name in ("lrs3", "lrs2"):
            scaled = sampler_of(HiCoDiTOptions(sampler=preset, scales=name), "canonical")
            assert scaled == Sampler.preset(preset, name)
            assert scaled.guidance.w_all == {"lrs3": 2.5, "lrs2": 2.25}[name]  # and the others of paper_guidance
    assert sampler_of(HiCoDiTOptions(scales="lrs2"), "embedded") == small
    changed = sampler_of(HiCoDiTOptions(sampler="paper", steps=5, w_emo=0, temperature=0.7), "embedded")
    assert (changed.method, changed.steps, changed.temperature) == ("euler", 5, 0.7)
    assert changed.guidance == replace(paper_guidance(None), w_emo=0)
    assert sampler_of(HiCoDiTOptions(w_all=2, kappa=1, high_steps=3), "embedded").guidance.w_all == 2


def test_windows_of_a_tier_and_of_settings() -> None:
    assert manner_of(HiCoDiTOptions(), "canonical") == Manner("default", 8, 1, 10)
    assert manner_of(HiCoDiTOptions(), "embedded") == Manner("tiny", 4, 0.5, 4)
    assert manner_of(HiCoDiTOptions(window_seconds=1), "canonical") == Manner("default", 1, 0.25, 1)
    with pytest.raises(UsageError, match="overlap_seconds"):
        HiCoDiTSystem({"tier": "embedded", "overlap_seconds": 2})


@pytest.mark.parametrize(
    "settings", [{"steps": 0}, {"mode": "mime"}, {"sampler": "best"}, {"w_all": -1}, {"temperature": 0}, {"codec": "x"}]
)
def test_values_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        HiCoDiTSystem(settings)


def test_settings_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(NotHereError, match="one codec"):
        HiCoDiTSystem({"tier": "embedded", "codec": "maskgct"})
    for wrong in ({"emotion": "poster2"}, {"emotion_file": "p.ts"}):
        with pytest.raises(UsageError, match="emotion_file"):
            HiCoDiTSystem(wrong)


# ------------------------------------------------------------------------------------------------------ what it needs


def test_the_system_is_registered_with_its_stages() -> None:
    cls = registry.get("systems", "hicodit")
    assert cls is HiCoDiTSystem
    assert list(cls.stages()) == ["codec", "dit", "expression"]
    text = " ".join([*cls.differences, *cls.differences.values()])
    for word in ("paper", "inferred", "choice", "no code", "MaskGCT"):
        assert word.lower() in text.lower()


def test_everything_that_is_missing_is_listed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    lines = "\n".join(HiCoDiTSystem().missing())
    assert "bench train hicodit --stage dit --config full" in lines
    for file in (weight_files.AV_HUBERT, weight_files.ARCFACE, weight_files.DAC):
        assert f"bench weights add FILE --as {file.name}" in lines
    assert weight_files.MASKGCT_DECODER.name not in lines
    other = "\n".join(HiCoDiTSystem({"codec": "maskgct", "mode": "audio", "dit": "absent.safetensors"}).missing())
    assert weight_files.MASKGCT_DECODER.name in other
    assert "dit=absent.safetensors: no such file" in other
    assert weight_files.ARCFACE.name not in other
    assert "bench train" not in other


def test_a_row_says_whose_voice_is_heard_and_what_stands_in() -> None:
    note = HiCoDiTSystem({"tier": "embedded"}).note_for("vts")
    assert "guessed from the face" in note
    assert "AV-HuBERT" in note
    assert HiCoDiTSystem({"mode": "audio"}).note_for("vts") == "the voice is that of the reference"


def test_own_weights_are_never_a_canonical_row() -> None:
    system = HiCoDiTSystem({"dit": "own.safetensors"})
    assert system.tier == "embedded"
    assert system.weights == (weight_files.AV_HUBERT, weight_files.ARCFACE, weight_files.DAC)  # at published sizes
    assert system.note_for("vts").endswith("of one's own training")
    assert HiCoDiTSystem().tier == "canonical"


def test_own_weights_are_known_by_content(tmp_path: Path) -> None:
    system = HiCoDiTSystem({"tier": "embedded", **own_weights(tmp_path)})
    assert system.weights == ()
    assert system.missing() == []
    before = system.fingerprint()
    own_weights(tmp_path, seed=1)
    assert system.fingerprint() != before


def test_a_model_is_not_used_with_another_codec(tmp_path: Path) -> None:
    own, other = own_weights(tmp_path), MelRvqCodec(codec(seed=5))
    with pytest.raises(UsageError, match="other codebooks"):
        check_codec(other, {"codec": "mel_rvq", "codebooks": MelRvqCodec(codec()).hash()})
    with pytest.raises(UsageError, match="dac_16k"):
        check_codec(other, {"codec": "dac_16k", "codebooks": other.hash()})
    (tmp_path / "b").mkdir()
    mixed = {**own, "codec_file": own_weights(tmp_path / "b", seed=3)["codec_file"]}
    with pytest.raises(UsageError, match="codec_file"):
        HiCoDiTSystem({"tier": "embedded", **QUICK, **mixed}).load("cpu", "float32")


@pytest.mark.parametrize("sizes", ['{"width": 7}', "nonsense", '{"colour": 3}', "[1]"])
def test_a_header_without_sound_sizes_is_refused(tmp_path: Path, sizes: str) -> None:
    path = Path(own_weights(tmp_path, sizes=sizes)["dit"])
    with pytest.raises((DataError, UsageError)):
        joined_of(path, "cpu", small=True)


def test_files_of_something_else_are_refused(tmp_path: Path) -> None:
    own = own_weights(tmp_path)
    with pytest.raises(DataError, match="what size"):
        joined_of(Path(own["codec_file"]), "cpu", small=True)
    with pytest.raises(UsageError, match="no hicodit of this configuration"):
        joined_of(Path(own["dit"]), "cpu", small=False)
    with pytest.raises(UsageError, match="no such file"):
        joined_of(tmp_path / "none.safetensors", "cpu", small=True)
    (tmp_path / "text.safetensors").write_text("no weights", encoding="utf-8")
    with pytest.raises(DataError):
        joined_of(tmp_path / "text.safetensors", "cpu", small=True)


def test_a_model_of_another_width_runs_by_its_own_header(tmp_path: Path) -> None:
    path = Path(own_weights(tmp_path)["dit"])
    assert joined_of(path, "cpu", small=True).dit.sizes == SMALL
    tensors = load_file(path)
    save_file({name: tensor for name, tensor in tensors.items() if "heads.0" not in name}, path)
    with pytest.raises(DataError, match="what size"):
        joined_of(path, "cpu", small=True)
