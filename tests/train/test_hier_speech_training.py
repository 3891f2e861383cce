"""Training of the tiny features and of text-to-vec: what a step sees, and that it learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from speech_kit import request, sound_clip, spoken_clip

pytest.importorskip("transformers")

from bench.api import DataError, UsageError
from bench.datasets.demo.phoneme_times import PHONEMES, PhonemeTimes, class_of, phoneme_times
from bench.embedded import embedded_file
from bench.progress import Progress
from bench.records import Clip
from bench.systems.hierspeech import tiny
from bench.systems.hierspeech.standard_features import StandardFeatures
from bench.systems.hierspeech.training import feature_source as sources
from bench.systems.hierspeech.training import features, speech_clips, ttv
from bench.systems.hierspeech.ttv import TextToVec
from bench.train import Stage, TrainSettings, train
from bench.train_files import read_curve
from bench.train_rates import cosine, flat_then_linear
from bench.train_request import TrainRequest
from bench.trained import filled

SMALL = {"batch_size": 2}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    """Two speakers, two sentences each."""
    root = tmp_path_factory.mktemp("spoken")
    return [spoken_clip(root, number, speaker) for speaker in ("s1", "s4") for number in (0, 1)]


@pytest.fixture(scope="module")
def trained(clips: list[Clip], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of features of three steps."""
    folder = tmp_path_factory.mktemp("features")
    run(features.stage(request(folder, clips, settings=SMALL)), folder, 3)
    return folder


@pytest.fixture
def for_ttv(clips: list[Clip], trained: Path, tmp_path: Path) -> TrainRequest:
    given = {"features": str(trained / "weights.safetensors"), **SMALL}
    return request(tmp_path, clips, settings=given, held_out=clips[:2])


def run(stage: Stage, folder: Path, steps: int) -> list[dict[str, float]]:
    train(stage, TrainSettings(steps, folder), Progress(quiet=True))
    return read_curve(folder)


def equal(one: object, other: object) -> bool:
    names = getattr(one, "_fields", None) or type(one).__slots__  # type: ignore[attr-defined]
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in names)


# --- phonemes in time


def test_espeaks_names_become_35_classes() -> None:
    assert len(PHONEMES) == len(set(PHONEMES)) == 35
    names = {"_": "sil", "_:": "sil", ";": "sil", "'E": "E", "t#": "t", "a#": "@", "r-": "r", "'i@": "i@"}
    assert {name: PHONEMES[class_of(name)] for name in names} == names
    with pytest.raises(DataError, match="3:"):
        class_of("3:")


def test_a_phoneme_lasts_from_its_event_to_its_end() -> None:
    times = PhonemeTimes(np.array([4, 9, 2]), np.array([0.5, 0.7, 1.5]), np.array([0.7, 1.0, 1.6]))
    at = np.array([0.0, 0.49, 0.5, 0.69, 0.7, 0.99, 1.0, 1.4, 1.5, 1.59, 1.6, 9.0])
    assert times.at(at).tolist() == [0, 0, 4, 4, 9, 9, 0, 0, 2, 2, 0, 0]


def test_labels_are_those_of_the_sound_at_every_pace(clips: list[Clip], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "disguised", lambda audio, random: audio)
    spoken = features.Spoken(clips)
    length, times = 48_000, phoneme_times(clips[0])
    # a sound that says where it is
    monkeypatch.setattr(spoken, "whole", lambda index: (np.arange(length, dtype=np.float64), times))
    paces = set()
    for seed in range(5):
        place, labels = spoken._crop(np.random.default_rng(seed))
        assert len(place) == features.CROP and labels.shape == (features.CROP // 320,)
        heard = np.asarray(place)[160::320]  # the middle of each frame
        assert labels.tolist() == times.at(heard / 16_000).tolist()
        paces.add(round(float(place[1] - place[0]), 3))
    assert len(paces) == 5 and all(0.83 <= pace <= 1.2 for pace in paces)


def test_whole_sentences_are_labelled_where_there_is_sound(clips: list[Clip]) -> None:
    for index, clip in enumerate(clips):
        audio, times = features.Spoken(clips).whole(index)
        frames = len(audio) // 320
        labels = times.at((np.arange(frames) + 0.5) / 50)
        loud = np.square(audio[: frames * 320].reshape(frames, 320)).mean(1) > 1e-3
        assert (labels[loud] > 0).mean() > 0.95, clip.id
        spoken = {PHONEMES[label] for label in labels}
        assert {"b", "l", "u:", "t"} <= spoken if "blue" in (clip.transcript or "") else {"r", "E", "s"} <= spoken


def test_a_disguise_changes_level_and_adds_noise_but_keeps_silence() -> None:
    tone = np.sin(np.arange(16_000) / 10)
    heard = features.disguised(tone, np.random.default_rng(0))
    assert 0.15 < np.abs(heard).max() < 1.2 and heard.dtype == np.float32
    assert abs(np.corrcoef(heard, tone)[0, 1]) > 0.9
    assert not features.disguised(np.zeros(100), np.random.default_rng(0)).any()


# --- the features network


def test_only_the_demo_corpus_and_the_tiny_configuration_have_this_stage(clips: list[Clip], tmp_path: Path) -> None:
    other = sound_clip(tmp_path, "other", np.ones(48_000) / 9, "x", "bin blue")
    with pytest.raises(UsageError, match="1 clips do not say so, as other"):
        features.stage(request(tmp_path, [*clips, other]))
    with pytest.raises(UsageError, match="MMS"):
        features.stage(request(tmp_path, clips, "full"))


def test_batches_of_features_are_functions_of_step_and_rank(clips: list[Clip], tmp_path: Path) -> None:
    one, two = (features.stage(request(tmp_path, clips)) for _ in range(2))
    for step in range(3):
        one.batch(step, 0, 1)
    assert equal(one.batch(7, 0, 1), two.batch(7, 0, 1))
    assert not torch.equal(two.batch(7, 0, 2).audio, two.batch(7, 1, 2).audio)
    assert not torch.equal(two.batch(7, 0, 1).audio, two.batch(8, 0, 1).audio)
    batch = two.batch(0, 0, 1)
    assert batch.audio.shape == (8, 25_600) and batch.labels.shape == batch.hidden.shape == (8, 80)
    assert batch.hidden.sum(1).min() >= 5 and batch.hidden.sum(1).max() <= 15


def test_features_in_two_pieces_equal_one(clips: list[Clip], trained: Path, tmp_path: Path) -> None:
    for steps in (2, 3):
        curve = run(features.stage(request(tmp_path, clips, settings=SMALL)), tmp_path, steps)
    assert curve == read_curve(trained)


def test_phonemes_are_learnt(clips: list[Clip], tmp_path: Path) -> None:
    given = request(tmp_path, clips[:1], settings={"batch_size": 4})
    losses = [line["phonemes"] for line in run(features.stage(given), tmp_path, 30)]
    assert 3.2 < losses[0] < 4.1  # log 35 = 3.56
    assert np.mean(losses[-5:]) < losses[0] - 0.8


def test_shipped_features_are_standardised_over_the_training_clips(clips: list[Clip], trained: Path) -> None:
    network = filled(StandardFeatures(), trained / "weights.safetensors", "features", "features")
    spoken = features.Spoken(clips)
    with torch.no_grad():
        frames = torch.cat([network(torch.from_numpy(spoken.whole(i)[0])[None])[0] for i in range(4)], 1)
    assert frames.shape == (tiny.FEATURES, 4 * 152)
    assert frames.mean(1).abs().max() < 1e-3
    assert frames.std(1).min() > 0.9 and frames.std(1).max() < 1.01


# --- clips


def test_clips_are_made_once_and_kept(for_ttv: TrainRequest, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = str(trained / "weights.safetensors")
    first = speech_clips.speech_clips(for_ttv, file, with_text=True)[2]
    assert first.speaker == "s4" and first.samples == 48_000
    assert first.audio.shape == (48_640,) and not first.audio[48_000:].any()
    assert first.features.shape == (128, 152) and first.f0.shape == (608,) and first.mel.shape == (80, 152)
    assert first.tokens[1::2].tolist() == first.ids.tolist() and not first.tokens[::2].any()
    voiced = first.f0[first.f0 > 0]
    assert voiced.min() > 60 and voiced.max() < 400 and 0.3 < len(voiced) / 608 < 0.9

    def none(self: object, audio: object) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(sources.FeatureSource, "of", none)
    again = speech_clips.speech_clips(for_ttv, file, with_text=True)[2]
    for name in ("audio", "features", "f0", "mel", "tokens"):
        assert torch.equal(getattr(first, name), getattr(again, name)), name


def test_features_on_disk_are_the_networks(for_ttv: TrainRequest, trained: Path) -> None:
    clip = speech_clips.speech_clips(for_ttv, str(trained / "weights.safetensors"))[0]
    network = filled(StandardFeatures(), trained / "weights.safetensors", "features", "features")
    assert (clip.features - network(clip.audio[None, :48_000])[0]).abs().max() < 5e-3  # 16 bits on disk
    assert clip.ids.numel() == clip.tokens.numel() == 0  # no text was asked for


def test_unusable_clips_are_counted_by_reason(clips: list[Clip], trained: Path, tmp_path: Path) -> None:
    sound = 0.1 * np.sin(np.arange(48_000) / 20)
    long = np.tile(sound, 5)
    given = [
        clips[0],
        sound_clip(tmp_path, "short", sound[:6400], "s1", "bin blue"),
        sound_clip(tmp_path, "long", long, "s1", "bin blue"),
        sound_clip(tmp_path, "mute", np.zeros(48_000), "s1", "bin blue"),
        sound_clip(tmp_path, "wordless", sound, "s1", None),
        sound_clip(tmp_path, "wordy", sound, "s1", "bin blue at two now " * 20),
        clips[1],
    ]
    source = sources.feature_source(request(tmp_path, given), str(trained / "weights.safetensors"))
    found = speech_clips.SpeechClips(given, source, tmp_path / "speech", Progress(quiet=True), with_text=True)
    assert dict(found.left_out) == {"too short": 1, "too long": 1, "without text": 1, "text too long": 1}
    assert len(found) == 3
    random = np.random.default_rng(0)
    assert {found.clip(found.draw(random)).id for _ in range(20)} == {"s1-0", "s1-1"}
    assert found.left_out["silent_audio"] == 1
    assert {found.partner(0, random) for _ in range(10)} == {2}
    assert "5 of 7 clips are left out: " in found.told()
    with pytest.raises(DataError, match="1 too short"):
        speech_clips.SpeechClips(given[1:2], source, tmp_path / "speech", Progress(quiet=True))


def test_draws_do_not_depend_on_what_was_drawn_before(for_ttv: TrainRequest, tmp_path: Path, trained: Path) -> None:
    mute = sound_clip(tmp_path, "mute", np.zeros(48_000), "s1", "bin blue")
    given = [mute, *for_ttv.clips]
    source = sources.feature_source(for_ttv, str(trained / "weights.safetensors"))
    one, two = (speech_clips.SpeechClips(given, source, tmp_path / "speech", Progress(quiet=True)) for _ in range(2))
    for seed in range(20):
        one.draw(np.random.default_rng(seed))
    assert one.left_out and not two.left_out
    last = [clips.draw(np.random.default_rng(33)) for clips in (one, two)]
    assert last[0] == last[1]
    # each of the usable clips is a partner of the other of its speaker, and of nobody else
    assert [one.partner(index, np.random.default_rng(1)) for index in (1, 2, 3, 4)] == [2, 1, 4, 3]


def test_without_features_it_is_said_how_to_get_them(
    clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = embedded_file("hierspeech", "nothing", "features")
    monkeypatch.setattr("bench.embedded.embedded_file", lambda *given: absent)
    with pytest.raises(UsageError, match="needs features") as caught:
        ttv.stage(request(tmp_path, clips))
    assert "--stage features" in caught.value.hint and "--set features=" in caught.value.hint
    with pytest.raises(UsageError, match="no such file"):
        ttv.stage(request(tmp_path, clips, settings={"features": "nowhere.safetensors"}))
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    with pytest.raises(UsageError, match="mms-300m"):
        ttv.stage(request(tmp_path, clips, "full"))
    with pytest.raises(UsageError, match="those of MMS"):
        ttv.stage(request(tmp_path, clips, "full", settings={"features": "some.safetensors"}))


# --- text-to-vec


def test_batches_of_text_to_vec_are_functions_of_the_step(for_ttv: TrainRequest) -> None:
    one, two = ttv.stage(for_ttv), ttv.stage(for_ttv)
    one.batch(0, 0, 1)
    assert equal(one.batch(5, 0, 1), two.batch(5, 0, 1))
    drawn = [two.batch(step, 0, 1).tokens for step in range(6)]
    assert any(not torch.equal(drawn[0], other) for other in drawn[1:])


def test_a_batch_is_padded_with_zeros_and_has_another_utterance_as_style(for_ttv: TrainRequest, trained: Path) -> None:
    clips = speech_clips.speech_clips(for_ttv, str(trained / "weights.safetensors"), with_text=True)
    batch = ttv.collated([clips[0], clips[3]], [clips[1], clips[2]])
    lengths = [len(clips[0].tokens), len(clips[3].tokens)]
    assert batch.tokens.shape == (2, max(lengths)) and batch.token_lengths.tolist() == lengths
    shorter = int(np.argmin(lengths))
    assert not batch.tokens[shorter, min(lengths) :].any()
    assert torch.equal(batch.w2v[1], clips[3].features) and torch.equal(batch.f0[0, 0], clips[0].f0)
    assert torch.equal(batch.mel[0], clips[1].mel) and batch.mel_lengths.tolist() == [152, 152]
    assert batch.phonemes[1, : len(clips[3].ids)].tolist() == clips[3].ids.tolist()


def test_text_to_vec_in_two_pieces_equals_one(for_ttv: TrainRequest, tmp_path: Path) -> None:
    whole = run(ttv.stage(for_ttv), tmp_path / "whole", 4)
    for steps in (2, 4):
        pieces = run(ttv.stage(for_ttv), tmp_path / "pieces", steps)
    assert pieces == whole
    # the duration predictor learns at every third step
    assert ["durations" in line for line in whole] == [True, False, False, True]


def test_text_to_vec_learns_and_measures(for_ttv: TrainRequest, tmp_path: Path) -> None:
    given = {**for_ttv.settings, "eval_every": 20, "eval_batches": 1, "rate": 5e-3}
    small = request(tmp_path, list(for_ttv.clips[:2]), settings=given, held_out=for_ttv.held_out)
    curve = run(ttv.stage(small), tmp_path / "run", 28)
    assert np.mean([line["w2v"] for line in curve[-4:]]) < 0.92 * curve[0]["w2v"]
    assert np.mean([line["ctc"] for line in curve[-4:]]) < 0.25 * curve[0]["ctc"]
    names = {"w2v", "kl", "f0", "durations", "ctc"}
    assert {name for name in curve[20] if name.startswith("eval_")} == {f"eval_{name}" for name in names}
    filled(TextToVec(tiny.TTV), tmp_path / "run" / "weights.safetensors", "ttv", "ttv")


def test_the_full_recipe_is_the_official_one(clips: list[Clip], for_ttv: TrainRequest, trained: Path) -> None:
    recipe = ttv.RECIPES["full"]
    assert (recipe.batch_size, recipe.rate, recipe.own_style, recipe.durations_every) == (32, 2e-4, True, 1)
    known = speech_clips.speech_clips(for_ttv, str(trained / "weights.safetensors"), with_text=True)
    stage = ttv.TtvStage(request(for_ttv.folder, clips, "full"), ttv.TtvOptions(), TextToVec(tiny.TTV), known, known)
    stage.begin(0)
    (optimiser,) = stage.optimisers().values()
    assert optimiser.param_groups[0]["lr"] == 2e-4 and optimiser.param_groups[0]["betas"] == (0.8, 0.99)
    stage.begin(2)  # 64 clips: 16 times through the four
    assert optimiser.param_groups[0]["lr"] == pytest.approx(2e-4 * 0.999**16)
    assert not stage.clip_norm


# --- learning rates


def test_rates_rise_and_fall() -> None:
    assert [round(cosine(step, 800, 50, 0.02), 4) for step in (0, 24, 400, 800, 5000)] == [
        0.02,
        0.4989,
        0.51,
        0.02,
        0.02,
    ]
    rates = [round(flat_then_linear(step, 1000, 50, 0.05), 4) for step in (0, 49, 500, 750, 1000, 3000)]
    assert rates == [0.02, 1.0, 1.0, 0.525, 0.05, 0.05]
