"""Training of HiCoDiT's diffusion model on made-up records: what is kept, drawn, learned and shipped."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hicodit_train_kit import SIZES, FakeMakers, dit_clip, dit_request, small

from bench.api import Clip, DataError, UsageError
from bench.progress import Progress
from bench.systems.hicodit.joined import Joined, VoiceScale
from bench.systems.hicodit.score_entropy import LossSettings
from bench.systems.hicodit.training import dit
from bench.systems.hicodit.training.average import Average
from bench.systems.hicodit.training.clips import fitted_scale, speaker_voice, voices
from bench.systems.hicodit.training.data import Batch, Order, Records, collated, crop, item
from bench.systems.hicodit.training.evaluate import as_long, controls, likelihoods
from bench.systems.hicodit.training.makers import emotion_of
from bench.systems.hicodit.training.objective import identity_distance, score, score_at
from bench.systems.hicodit.training.options import RECIPES, DitOptions, Recipe
from bench.systems.hicodit.training.records import RECORDS, ClipRecord
from bench.train import TrainingError, TrainSettings, train
from bench.train_files import read_curve
from bench.weights_file import load_any

QUIET = Progress(quiet=True)
SCRIPT = Path(__file__).with_name("hicodit_dit_run.py")


@pytest.fixture
def clips() -> list[Clip]:
    """Eight clips of 20 to 34 frames of two speakers."""
    return [dit_clip(number, 20 + 2 * number) for number in range(8)]


def records_of(clips: list[Clip], makers: FakeMakers | None = None, seconds: tuple[float, float] = (0, 60)) -> Records:
    """Records straight from the makers."""
    return Records(clips, (makers or FakeMakers()).make, seconds, QUIET)


def stage_of(
    folder: Path,
    clips: list[Clip],
    monkeypatch: pytest.MonkeyPatch,
    recipe: Recipe | None = None,
    held_out: tuple[Clip, ...] | None = None,
    **settings: object,
) -> dit.DitStage:
    """The stage on fake records; settings as on the command line."""
    monkeypatch.setitem(RECIPES, "tiny", recipe or small())
    monkeypatch.setattr(dit, "record_makers", lambda *_: FakeMakers())
    judged = tuple(clips[:4]) if held_out is None else held_out
    made = dit.stage(dit_request(folder, clips, judged, **settings))
    assert isinstance(made, dit.DitStage)
    return made


def run(stage: dit.DitStage, steps: int, folder: Path) -> list[dict[str, float]]:
    train(stage, TrainSettings(steps, folder), QUIET)
    return read_curve(folder)


# --- records


def test_records_come_back_from_file_and_shard_as_they_were(tmp_path: Path, clips: list[Clip]) -> None:
    makers = FakeMakers()
    first, again = (RECORDS.of(clips[2], tmp_path, makers) for _ in range(2))
    assert makers.made == 1
    place = RECORDS.folder(tmp_path, makers)
    RECORDS.write_shard(place, {RECORDS.key(clips[3]): makers.make(clips[3])})
    RECORDS.of(clips[3], tmp_path, makers)
    assert makers.made == 2
    for name in ("codes", "lip", "face", "voice", "emotion"):
        assert np.array_equal(getattr(first, name), getattr(again, name)), name
        assert getattr(first, name).dtype == getattr(again, name).dtype, name


def test_a_damaged_record_is_made_again(tmp_path: Path, clips: list[Clip]) -> None:
    makers = FakeMakers()
    RECORDS.of(clips[0], tmp_path, makers)
    (file,) = RECORDS.folder(tmp_path, makers).iterdir()
    file.write_bytes(file.read_bytes()[:50])
    RECORDS.of(clips[0], tmp_path, makers)
    assert makers.made == 2


def test_the_corpus_says_which_emotion_is_spoken() -> None:
    plain = dit_clip(0)
    assert emotion_of(plain) == 0
    with_extra = Clip(**{**{f: getattr(plain, f) for f in plain.__slots__}, "extra": {"emotion": "sad"}})
    assert emotion_of(with_extra) == 2
    odd = Clip(**{**{f: getattr(plain, f) for f in plain.__slots__}, "extra": {"emotion": "bored"}})
    with pytest.raises(DataError, match="'bored'"):
        emotion_of(odd)


# --- batches


def test_every_pass_has_every_clip_once() -> None:
    order = Order(10, seed=3)
    passes = [[index for first in range(start, start + 10, 5) for index in order(first, 5)] for start in (0, 10, 20)]
    assert all(sorted(one) == list(range(10)) for one in passes)
    assert passes[0] != passes[1]
    assert order(8, 4) == passes[0][8:] + passes[1][:2]


def test_a_crop_keeps_codes_and_frames_together(clips: list[Clip]) -> None:
    record = FakeMakers().make(clips[5])  # 30 frames
    voice = torch.zeros(64)
    seen = set()
    for seed in range(20):
        one = crop(record, voice, SIZES, 8, np.random.default_rng(seed))
        bright = one.lip[:, 0, 0].long() // 30
        assert torch.equal(one.tokens[0], bright.repeat_interleave(2)) and len(bright) == 8
        assert one.emotion.tolist() == [5]
        seen.add(tuple(bright.tolist()))
    assert len(seen) > 5
    assert len(item(record, voice, SIZES).emotion) == math.ceil(60 / 25)


def test_short_clips_are_padded_and_lengths_say_so() -> None:
    items = [item(FakeMakers().make(dit_clip(n, frames)), torch.zeros(64), SIZES) for n, frames in ((0, 5), (1, 20))]
    batch = collated(items)
    assert batch.tokens.shape == (2, 4, 40) and batch.lip.shape == (2, 20, 44, 44)
    assert batch.lengths.tolist() == [10, 40] and batch.frames.tolist() == [5, 20]
    assert batch.valid.sum(1).tolist() == [10, 40]
    assert batch.emotion.tolist() == [[0, 0], [1, 1]]
    assert not batch.lip[0, 5:].any() and not batch.tokens[0, :, 10:].any()


def test_unusable_clips_are_replaced_and_long_ones_cut(clips: list[Clip]) -> None:
    records = records_of(clips, FakeMakers(bad=("c01",)), seconds=(0.9, 1.0))  # c00, c01 have 0.8 s and no face
    assert records.maybe(0) is None and records.maybe(1) is None
    place, record = records.find(0)
    assert place == 2 and len(record.lip) == 24
    assert len(records.find(7)[1].lip) == 25 and records.find(7)[1].codes.shape == (4, 50)
    with pytest.raises(DataError, match="no clip can be trained on"):
        records_of(clips[:1], seconds=(5, 6)).find(0)
    with pytest.raises(DataError, match="there is no clip"):
        records_of([])


def test_batches_are_functions_of_step_and_rank(
    tmp_path: Path, clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = (stage_of(tmp_path, clips, monkeypatch) for _ in range(2))
    for step in range(3):
        one.batch(step, 0, 1)
    a, b = one.batch(7, 0, 1), two.batch(7, 0, 1)
    assert torch.equal(a.tokens, b.tokens) and torch.equal(a.lip, b.lip)
    ranks = [two.batch(0, rank, 2) for rank in range(2)]  # a pass of 8 clips, shared out
    assert len({bytes(row.numpy().tobytes()) for batch in ranks for row in batch.face}) == 8


def test_all_crops_of_a_step_have_one_length(
    tmp_path: Path, clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = stage_of(tmp_path, clips, monkeypatch, small(crop=(8, 24)))
    lengths = [(stage.batch(step, 0, 2).tokens.shape[2], stage.batch(step, 1, 2).tokens.shape[2]) for step in range(20)]
    assert all(own == other and own % 2 == 0 and 8 <= own <= 24 for own, other in lengths)
    assert len(set(lengths)) > 4


# --- voices


def test_a_voice_is_the_mean_over_the_clips_of_the_speaker(clips: list[Clip]) -> None:
    records = records_of(clips)
    scale = fitted_scale(records, QUIET)
    known = voices(records, scale)
    assert set(known) == {"s0", "s1"} and all(abs(float(v.norm()) - 1) < 1e-5 for v in known.values())
    assert float(known["s0"] @ known["s1"]) < 0  # standardised, two voices are opposites
    voice_of = speaker_voice(records, scale, known)
    assert torch.equal(voice_of(0), voice_of(2)) and not torch.equal(voice_of(0), voice_of(1))


def test_without_a_speaker_another_clip_of_the_group_lends_its_voice() -> None:
    plain = [dit_clip(number, speaker=None) for number in range(3)]
    grouped = [Clip(**{**{f: getattr(c, f) for f in c.__slots__}, "group": "g"}) for c in plain[:2]] + plain[2:]
    records, scale = records_of(grouped), VoiceScale()
    voice_of = speaker_voice(records, scale, {})
    own = [torch.from_numpy(scale.vector(FakeMakers().make(clip).voice)) for clip in grouped]
    assert torch.equal(voice_of(0), own[1]) and torch.equal(voice_of(1), own[0]) and torch.equal(voice_of(2), own[2])


# --- objective


def batch_of(clips: list[Clip]) -> Batch:
    return collated([item(FakeMakers().make(clip), torch.ones(64) / 8, SIZES) for clip in clips])


def test_untrained_scores_cost_the_logarithm_of_the_codes(clips: list[Clip]) -> None:
    joined, batch = Joined(SIZES, front=True).eval(), batch_of(clips[:3])
    found = score(joined, batch, batch.voice, small(), seed=0)
    torch.testing.assert_close(found.cross_entropy / found.masked, torch.full((4,), math.log(8)))
    torch.testing.assert_close(likelihoods(joined, batch, batch.lip), torch.full((3, 4), math.log(8)))
    again = score(joined, batch, batch.voice, small(), seed=0)
    assert torch.equal(found.total, again.total)
    assert not torch.equal(found.masked, score(joined, batch, batch.voice, small(), seed=1).masked)


def test_padding_changes_no_loss(clips: list[Clip]) -> None:
    torch.manual_seed(0)
    joined = Joined(SIZES, front=True).eval()
    for parameter in joined.dit.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    items = [item(FakeMakers().make(clip), torch.ones(64) / 8, SIZES) for clip in (clips[0], clips[7])]
    alone, both = collated(items[:1]), collated(items)
    times = torch.full((2, 4), 0.5)
    uniforms = torch.rand(both.tokens.shape, generator=torch.Generator().manual_seed(0))
    own = score_at(joined, alone, alone.voice, times[:1], uniforms[:1, :, : alone.tokens.shape[2]], LossSettings())
    other = collated(items[1:])
    beside = score_at(joined, other, other.voice, times[:1], uniforms[1:], LossSettings())
    together = score_at(joined, both, both.voice, times, uniforms, LossSettings())
    torch.testing.assert_close(together.total, (own.total + beside.total) / 2)


def test_the_adapter_learns_from_its_own_loss_alone(clips: list[Clip]) -> None:
    recipe = small()
    joined, batch = Joined(SIZES, front=True), batch_of(clips[:3])
    made = dit.optimisers(joined, recipe)
    groups = {name: [p for group in one.param_groups for p in group["params"]] for name, one in made.items()}
    counted = sum(len(group) for group in groups.values())
    assert counted == len(list(joined.parameters())) == len({id(p) for group in groups.values() for p in group})
    assert {id(p) for p in groups["adapter"]} == {id(p) for p in joined.dit.identity.mlp.parameters()}
    score(joined, batch, batch.voice, recipe, 0).total.backward()
    assert all(p.grad is None for p in groups["adapter"])
    identity_distance(joined, batch).backward()
    assert all(p.grad is not None for p in groups["adapter"])
    decayed = {id(p) for one in made.values() for p in one.param_groups[0]["params"]}
    assert not decayed & {id(table.weight) for table in joined.dit.embed}
    assert id(joined.dit.fuse_lip.weight) in decayed and id(joined.dit.fuse_lip.bias) not in decayed


def test_the_average_lags_behind_and_copies_statistics() -> None:
    joined = Joined(SIZES, front=True)
    average = Average(joined, 0.75)
    before = joined.dit.fuse_lip.weight.detach().clone()
    with torch.no_grad():
        joined.dit.fuse_lip.weight += 1
        assert joined.voice is not None and average.network.voice is not None
        joined.voice.mean += 2
    average.update()
    torch.testing.assert_close(average.network.dit.fuse_lip.weight, before + 0.25)
    assert torch.equal(average.network.voice.mean, joined.voice.mean)


# --- evaluation


def test_a_control_is_the_next_clip_of_the_voice_with_another_text() -> None:
    own = [dit_clip(number) for number in (4, 0, 2, 1)] + [dit_clip(6, text="text 4")]
    assert controls(own) == [1, 2, 0, 2, 1]  # c04 skips c06, which says the same; c01 has none of its own voice
    assert controls([dit_clip(0, text="a"), dit_clip(2, text="a")]) == [0, 1]


def test_streams_are_cut_or_go_on() -> None:
    stream = torch.arange(3)[:, None]
    assert as_long(stream, 2).flatten().tolist() == [0, 1]
    assert as_long(stream, 5).flatten().tolist() == [0, 1, 2, 2, 2]


# --- the stage


def test_the_model_learns_to_listen_to_the_mouth(
    tmp_path: Path, clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = small(rate=2e-2, average=0.9, schedule=150, drop_all=0.0, drop_each=0.0, eval_every=100)
    stage = stage_of(tmp_path, clips, monkeypatch, recipe)
    curve = run(stage, 150, tmp_path / "run")
    found = stage.judged()
    assert found["eval_level1"] < math.log(8) - 0.5 < found["eval_level1_control"]
    assert found["eval_better"] == 1.0 and found["eval_score"] < 8
    assert "eval_level1" in curve[100] and "eval_level1" not in curve[99]
    assert curve[-1]["identity"] < 0.5 * curve[0]["identity"]


@pytest.mark.parametrize("variant", ["hierarchy", "dual_scale", "emotion"])
def test_ablations_train(variant: str, tmp_path: Path, clips: list[Clip], monkeypatch: pytest.MonkeyPatch) -> None:
    stage = stage_of(tmp_path, clips, monkeypatch, **{variant: False})
    assert len(run(stage, 2, tmp_path / "run")) == 2
    assert not json.loads(stage.facts()["sizes"])[variant]


def test_a_training_that_was_stopped_goes_on_as_if_it_had_not(
    tmp_path: Path, clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = small(eval_every=2)
    whole = run(stage_of(tmp_path, clips, monkeypatch, recipe), 6, tmp_path / "whole")
    run(stage_of(tmp_path, clips, monkeypatch, recipe), 3, tmp_path / "parts")
    parts = run(stage_of(tmp_path, clips, monkeypatch, recipe), 6, tmp_path / "parts")
    assert whole == parts
    one, two = (load_any(tmp_path / name / "weights.safetensors") for name in ("whole", "parts"))
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
    with pytest.raises(UsageError, match="other settings: hierarchy"):
        run(stage_of(tmp_path, clips, monkeypatch, recipe, hierarchy=False), 7, tmp_path / "parts")


def test_a_training_begins_with_given_weights(
    tmp_path: Path, clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(stage_of(tmp_path, clips, monkeypatch), 2, tmp_path / "one")
    file = tmp_path / "one" / "weights.safetensors"
    stage = stage_of(tmp_path, clips, monkeypatch, start=str(file), identity="visual")
    wanted = load_any(file)["hicodit.dit.fuse_lip.weight"]
    for network in stage.networks().values():
        assert torch.equal(network.state_dict()["dit.fuse_lip.weight"], wanted)
    assert len(run(stage, 1, tmp_path / "two")) == 1
    with pytest.raises(UsageError, match="no such file"):
        stage_of(tmp_path, clips, monkeypatch, start="nowhere.safetensors")


def test_full_size_recipes_learn_from_kept_features(
    tmp_path: Path, clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RECIPES, "full", small(schedule=None, level_weights=(), time_floor=0.0, crop=(10, 20)))
    monkeypatch.setattr(dit, "record_makers", lambda *_: FakeMakers(front=False))
    stage = dit.stage(dit_request(tmp_path, clips, tuple(clips[:2]), config="full", parameterisation="free"))
    assert isinstance(stage, dit.DitStage)
    curve = run(stage, 3, tmp_path / "run")
    assert len(curve) == 3 and all(np.isfinite(list(line.values())).all() for line in curve)
    assert set(load_any(tmp_path / "run" / "weights.safetensors")) == {
        f"{network}.dit.{name}" for network in ("learning", "hicodit") for name in Joined(SIZES, False).dit.state_dict()
    }


class Spoilt(FakeMakers):
    """Features without numbers in some clips."""

    def __init__(self, *spoilt: str) -> None:
        super().__init__(front=False)
        self._spoilt = spoilt

    def make(self, clip: Clip) -> ClipRecord:
        made = super().make(clip)
        return replace(made, lip=made.lip * np.float16("nan")) if clip.id in self._spoilt else made


def test_steps_without_a_finite_loss_are_skipped_until_five_in_a_row(
    tmp_path: Path, clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RECIPES, "full", small(schedule=None, level_weights=(), time_floor=0.0, crop=(10, 20)))
    monkeypatch.setattr(dit, "record_makers", lambda *_: Spoilt("c03"))
    curve = run(dit.stage(dit_request(tmp_path / "one", clips, config="full")), 8, tmp_path / "one")  # type: ignore[arg-type]
    assert sum("skipped" in line for line in curve) == 4, "a pass is two batches, and one of them has the clip"
    weights = load_any(tmp_path / "one" / "weights.safetensors")
    assert all(bool(tensor.isfinite().all()) for tensor in weights.values())
    monkeypatch.setattr(dit, "record_makers", lambda *_: Spoilt(*(clip.id for clip in clips)))
    with pytest.raises(TrainingError, match="of 'model' is nan at step 4, the last of 5 in a row"):
        run(dit.stage(dit_request(tmp_path / "all", clips, config="full")), 8, tmp_path / "all")  # type: ignore[arg-type]


def test_settings_say_what_is_trained(tmp_path: Path, clips: list[Clip], monkeypatch: pytest.MonkeyPatch) -> None:
    stage = stage_of(tmp_path, clips, monkeypatch, rate=0.5, schedule=10, dual_scale=False)
    told = stage.describe()
    assert (told["rate"], told["schedule"], told["dual_scale"], told["records"]) == (0.5, 10, False, "fake")
    assert json.dumps(told)
    facts = stage.facts()
    assert facts["codec"] == "fake" and facts["codebooks"] == "0123" and json.loads(facts["sizes"])["codes"] == 8
    with pytest.raises(UsageError, match="hierachy"):
        stage_of(tmp_path, clips, monkeypatch, hierachy=False)


@pytest.mark.parametrize("config", RECIPES)
def test_rates_rise_and_fall_by_step(config: str) -> None:
    recipe = RECIPES[config].changed(DitOptions(schedule=400) if config == "tiny" else DitOptions())
    rates = [dit.rate_at(step, recipe) for step in range(0, 4000, 5)]
    assert max(rates) <= recipe.rate and rates[0] < 0.02 * recipe.rate
    assert rates[-1] == pytest.approx(recipe.rate * (0.05 if config == "tiny" else 1.0))


@pytest.mark.slow
def test_two_processes_share_the_clips_and_go_on_exactly(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(SCRIPT)]
    for folder, steps in (("a", 3), ("b", 2), ("b", 3)):
        done = subprocess.run(
            [*command, str(tmp_path / folder), str(steps)],
            check=False,
            capture_output=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stderr.decode()[-2000:]
    assert read_curve(tmp_path / "a") == read_curve(tmp_path / "b") and len(read_curve(tmp_path / "a")) == 3
    one, two = (load_any(tmp_path / name / "weights.safetensors") for name in ("a", "b"))
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("tokens", ["dac_16k", "maskgct"])
def test_full_size_needs_official_files(tmp_path: Path, clips: list[Clip], tokens: str) -> None:
    with pytest.raises(UsageError, match=r"the training needs what makes its data: weights (weights_16khz|.*maskgct)"):
        dit.stage(dit_request(tmp_path, clips, config="full", tokens=tokens))
