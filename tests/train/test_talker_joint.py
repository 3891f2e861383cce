"""Joint training of the talker: batches, items, losses, and the stage as the training loop drives it."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from talker_kit import SIZES, FakeMakers, joint_clip, joint_request, small

from bench import train_sharding
from bench.api import Clip, DataError, UsageError
from bench.datasets.demo.phoneme_times import PHONEMES, phoneme_times
from bench.progress import Progress
from bench.systems.talker.flow_matching import CFM
from bench.systems.talker.latents import LATENTS
from bench.systems.talker.motion_stats import MotionStats
from bench.systems.talker.speech_llm import SpeechLLM
from bench.systems.talker.text import START, WHOLE, Characters, for_whole_clip
from bench.systems.talker.training import joint
from bench.systems.talker.training.joint_average import Average
from bench.systems.talker.training.joint_data import (
    NEVER,
    JointBatch,
    JointClips,
    JointItem,
    collated,
    phonemes_of_patches,
    with_other_texts,
)
from bench.systems.talker.training.joint_losses import Taught, weighted
from bench.systems.talker.training.joint_options import RECIPES, JointOptions, Recipe
from bench.systems.talker.training.joint_start import fresh, started, take
from bench.systems.talker.training.packing import Packing
from bench.train import TrainSettings, train
from bench.train_files import read_curve
from bench.train_world import World
from bench.weights_file import load_any

QUIET = Progress(quiet=True)
SCRIPT = Path(__file__).with_name("talker_joint_run.py")


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    """Eight clips of 40 to 68 frames."""
    return [joint_clip(tmp_path, number, 40 + 4 * number, 1 + number % 4) for number in range(8)]


def data_of(clips: Sequence[Clip], recipe: Recipe, makers: FakeMakers | None = None) -> JointClips:
    """Items straight from the makers."""
    made = makers or FakeMakers()
    return JointClips(clips, made.make, Characters(), MotionStats([3.0] * 4, [0.5] * 4), recipe, QUIET)


def stage_of(
    folder: Path, clips: list[Clip], monkeypatch: pytest.MonkeyPatch, recipe: Recipe | None = None, **settings: object
) -> joint.JointStage:
    """The stage on fake latents; settings as on the command line."""
    own = recipe or small()
    monkeypatch.setitem(RECIPES, "tiny", own)
    held_out = tuple(clips[:2])
    request = joint_request(folder, clips, held_out, **settings)
    options = request.options(JointOptions)
    changed = own.changed(options)
    data = joint.joint_data(request, changed, FakeMakers(), MotionStats([3.0] * 4, [0.5] * 4), Characters())
    model, start = started(changed, "tiny", None, 0)
    return joint.JointStage(request, options, model, data, start)


def equal(one: JointBatch, other: JointBatch) -> bool:
    names = ("input_ids", "speech_span", "speech", "motion", "motion_len", "speaker")
    same = all(torch.equal(getattr(one.teacher, name), getattr(other.teacher, name)) for name in names)
    return same and torch.equal(one.phonemes, other.phonemes) and torch.equal(one.stops_until, other.stops_until)


# --- packing


def test_every_epoch_has_every_clip_once() -> None:
    packing = Packing(list(range(24)), batch_size=4, pool=3)
    for epoch in range(3):
        seen = [index for number in range(6) for index in packing.batch(6 * epoch + number)]
        assert sorted(seen) == list(range(24))
    assert [packing.batch(i) for i in range(6)] != [packing.batch(6 + i) for i in range(6)]


def test_a_batch_is_a_function_of_its_number_and_the_seed() -> None:
    lengths = [3, 9, 4, 1, 7, 7, 2, 8, 5]
    one, two = (Packing(lengths, 2, positions=12, seed=5) for _ in range(2))
    there = [one.batch(number) for number in range(30)]
    assert [two.batch(number) for number in reversed(range(30))] == there[::-1]
    assert [Packing(lengths, 2, positions=12, seed=6).batch(number) for number in range(30)] != there


def test_full_batches_are_full_and_the_rest_is_drawn_again() -> None:
    packing = Packing([1] * 10, batch_size=4, pool=2)
    batches = [packing.batch(number) for number in range(3)]
    assert [len(batch) for batch in batches] == [4, 4, 4]
    assert {index for batch in batches for index in batch} == set(range(10))
    assert len(Packing([1, 1], batch_size=5).batch(0)) == 5


def test_clips_of_similar_length_are_together() -> None:
    lengths = np.random.default_rng(0).integers(10, 200, 512).tolist()

    def padding(pool: int) -> float:
        packing = Packing(lengths, 16, pool=pool)
        chosen = [[lengths[index] for index in packing.batch(number)] for number in range(32)]
        return 1 - sum(map(sum, chosen)) / sum(16 * max(batch) for batch in chosen)

    assert padding(1) > 0.4 and padding(16) < 0.06


def test_positions_bound_a_batch() -> None:
    lengths = [5, 30, 8, 8, 9, 100, 4, 4]
    packing = Packing(lengths, 8, positions=40)
    for number in range(40):
        batch = packing.batch(number)
        longest = max(lengths[index] for index in batch)
        assert len(batch) == 1 or len(batch) * longest <= 40


# --- items


def test_latents_come_back_from_the_disk_as_they_were(tmp_path: Path, clips: list[Clip]) -> None:
    makers = FakeMakers()
    first, again = (LATENTS.of(clips[2], tmp_path / "kept", makers) for _ in range(2))
    assert makers.made == 1
    for name in ("speech", "motion", "voice"):
        assert np.array_equal(getattr(first, name), getattr(again, name)), name
    assert (first.text, first.span) == (again.text, again.span)


def test_trimmed_items_have_the_speech_and_little_silence(clips: list[Clip]) -> None:
    data, seen = data_of(clips, small(whole_share=0.0, tts_share=0.0)), set()
    for seed in range(30):
        item = data.item(3, np.random.default_rng(seed))  # 52 frames, speech from 10 to 42
        spoken = (item.phonemes > 0).nonzero().flatten().tolist()
        lead = next(k for k in range(len(item.speech)) if torch.equal(item.speech[k], item_frame(clips[3], 10)))
        assert 2 <= lead <= 6 and spoken[0] == lead
        assert len(item.speech) == len(item.motion) == len(item.phonemes) and len(item.speech) % 4 == 0
        assert 2 <= len(item.speech) - (lead + 32) < 6
        assert item.ids[0] == START and item.stops_until == NEVER
        seen.add(lead)
    assert seen == {2, 3, 4, 5, 6}


def item_frame(clip: Clip, frame: int) -> torch.Tensor:
    return torch.from_numpy(FakeMakers().make(clip).speech[frame])


def test_whole_items_begin_at_the_first_frame_and_do_not_say_when_to_stop(clips: list[Clip]) -> None:
    item = data_of(clips, small(whole_share=1.0, tts_share=0.0)).item(5, np.random.default_rng(0))  # 60 frames
    assert torch.equal(item.speech[0], item_frame(clips[5], 0)) and len(item.speech) == 60
    assert item.ids[0] == WHOLE and item.stops_until == 13  # speech ends with frame 49, and two more are needed


def test_items_are_standardised_labelled_and_sometimes_without_text_or_motion(clips: list[Clip]) -> None:
    data, ids = data_of(clips, small(whole_share=1.0)), for_whole_clip(Characters().ids(clips[2].transcript or ""))
    random = np.random.default_rng(0)
    items = [data.item(2, random) for _ in range(400)]
    without_text = [item for item in items if item.ids.tolist() == [WHOLE, 2]]
    without_motion = [item for item in items if not len(item.motion)]
    assert all(item.ids.tolist() in ([WHOLE, 2], ids) for item in items)
    assert 20 < len(without_text) < 65 and 20 < len(without_motion) < 65
    moving = next(item for item in items if len(item.motion))
    raw = torch.from_numpy(FakeMakers().make(clips[2]).motion)
    torch.testing.assert_close(moving.motion, (raw[:48] - 3.0) / 0.5)
    expected = phoneme_times(clips[2]).at((np.arange(48) + 0.5) / 25)
    assert moving.phonemes.tolist() == expected.tolist()
    assert {PHONEMES[label] for label in expected} == {"sil", "b", "l", "u:", "s", "t"}


def test_full_size_items_are_random_crops_of_at_most_30_seconds(tmp_path: Path) -> None:
    long = joint_clip(tmp_path, 0, 803, phonemes=False)
    rules = replace(RECIPES["full"], sizes=SIZES)
    data = data_of([long], rules)
    items = [data.item(0, np.random.default_rng(seed)) for seed in range(6)]
    assert {len(item.speech) for item in items} == {750} and {len(item.motion) for item in items} == {748}
    assert len({float(item.speech[0, 0]) for item in items}) > 3
    short = data_of([joint_clip(tmp_path, 1, 43, phonemes=False)], rules).item(0, np.random.default_rng(0))
    assert (len(short.speech), len(short.motion)) == (43, 40)


def test_an_unusable_clip_is_replaced_by_the_next(tmp_path: Path) -> None:
    clips = [joint_clip(tmp_path, number, frames) for number, frames in enumerate((60, 60, 6, 60))]
    makers = FakeMakers(bad=("c01",))
    one, two = data_of(clips, small(), makers), data_of(clips, small(), makers)
    random = [np.random.default_rng(3) for _ in range(2)]
    one.item(0, np.random.default_rng(0))
    assert torch.equal(one.item(1, random[0]).voice, two.item(1, random[1]).voice)
    assert torch.equal(one.item(2, np.random.default_rng(0)).voice, one.item(3, np.random.default_rng(0)).voice)
    with pytest.raises(DataError, match="no clip can be trained on"):
        data_of(clips[1:3], small(), makers).item(0, np.random.default_rng(0))


def test_what_the_data_must_have(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no clip"):
        data_of([], small())
    mute = [joint_clip(tmp_path, number, phonemes=number < 2) for number in range(4)]
    with pytest.raises(UsageError, match="2 clips do not say so, as c02"):
        data_of(mute, small())
    assert not len(data_of(mute, small(phoneme_weight=0.0)).item(3, np.random.default_rng(0)).phonemes)


# --- batches


def test_the_layout_of_a_batch() -> None:
    def item(text: int, speech: int, motion: int) -> JointItem:
        ids = torch.arange(3, 3 + text)
        phonemes = torch.full((speech,), 7)
        return JointItem(ids, torch.ones(speech, 8), torch.ones(motion, 4), torch.zeros(6), phonemes)

    batch = collated([item(5, 12, 12), item(2, 8, 0), item(3, 10, 8)], SIZES)
    teacher = batch.teacher
    assert teacher.speech_span.tolist() == [[5, 8], [2, 4], [3, 6]]
    assert teacher.input_ids.shape == (3, 8) and teacher.attention_mask.sum(1).tolist() == [8, 4, 6]
    assert teacher.speech_len.tolist() == [12, 8, 10] and teacher.motion_len.tolist() == [12, 0, 8]
    assert teacher.tasks().tolist() == [1, 0, 1]
    found = phonemes_of_patches(batch.phonemes, torch.tensor([0, 2, 2]), torch.tensor([2, 1, 2]), 4)
    assert found.tolist() == [[7, 7, 7, 7], [7, 7, 7, 7], [7, 7, 0, 0]]
    other = with_other_texts([item(5, 12, 12), item(2, 8, 0)])
    assert [len(one.ids) for one in other] == [2, 5] and [len(one.speech) for one in other] == [12, 8]


def test_a_long_text_leaves_fewer_slots() -> None:
    item = JointItem(
        torch.ones(990, dtype=torch.int64), torch.ones(80, 8), torch.ones(80, 4), torch.zeros(6), torch.zeros(80)
    )
    assert collated([item], SIZES).teacher.speech_span.tolist() == [[990, 999]]


def test_batches_are_functions_of_step_and_rank(
    tmp_path: Path, clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = (stage_of(tmp_path, clips, monkeypatch) for _ in range(2))
    for step in range(3):
        one.batch(step, 0, 1)
    assert equal(one.batch(7, 0, 1)[0], two.batch(7, 0, 1)[0])
    assert not equal(two.batch(7, 0, 2)[0], two.batch(7, 1, 2)[0])
    double = stage_of(tmp_path, clips, monkeypatch, accumulate=2)
    assert len(double.batch(0, 0, 1)) == 2
    texts = {row for rank in (0, 1) for some in double.batch(0, rank, 2) for row in map(bytes_of, some.teacher.speaker)}
    assert len(texts) == 8  # an epoch of two steps of 4 clips, shared out: nobody sees a clip twice


def bytes_of(row: torch.Tensor) -> bytes:
    return row.numpy().tobytes()


# --- losses


def losses_of(taught: Taught, recipe: Recipe, items: Sequence[JointItem], seed: int = 0) -> dict[str, torch.Tensor]:
    return taught.losses(collated(items, recipe.sizes), recipe, torch.Generator().manual_seed(seed))


def test_losses_are_those_of_all_items_and_silent_ones_teach_no_motion(clips: list[Clip]) -> None:
    recipe = small(tts_share=0.0)
    data, taught = data_of(clips, recipe), Taught(fresh(recipe, 0), recipe)
    items = [data.item(index, np.random.default_rng(index)) for index in range(4)]
    found = losses_of(taught, recipe, items)
    assert set(found) == {"speech", "motion", "stop", "phonemes", "accuracy", "latents"}
    expected = found["speech"] + 2 * found["motion"] + 0.2 * found["stop"] + found["phonemes"] + found["latents"]
    torch.testing.assert_close(weighted(found, recipe), expected)
    still = [replace(item, motion=item.motion[:0]) for item in items]
    assert losses_of(taught, recipe, still)["motion"] == 0
    plain = small(phoneme_weight=0.0, latent_weight=0.0)
    assert set(losses_of(Taught(fresh(plain, 0), plain), plain, items)) == {"speech", "motion", "stop"}


def test_heads_learn_from_a_part_of_the_patches_several_times(
    clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = small(tts_share=0.0, whole_share=1.0, speech_share=0.5, motion_share=0.15, repeats=3)
    data, taught = data_of(clips, recipe), Taught(fresh(recipe, 0), recipe)
    items = [data.item(index, np.random.default_rng(index)) for index in range(4)]  # 10, 11, 12, 13 patches
    rows: list[int] = []
    whole = CFM.loss

    def counted(self: CFM, data: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        rows.append(len(data))
        return whole(self, data, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(CFM, "loss", counted)
    losses_of(taught, recipe, items)
    assert rows == [23 * 3, 7 * 3]


def test_silence_after_the_speech_says_nothing_about_stopping(clips: list[Clip]) -> None:
    recipe = small(tts_share=0.0, whole_share=1.0)
    data, taught = data_of(clips, recipe), Taught(fresh(recipe, 0), recipe)
    item = data.item(7, np.random.default_rng(0))  # 17 patches, speech until patch 14
    same = replace(item, stops_until=NEVER)
    cut, plain = (float(losses_of(taught, recipe, [one])["stop"].detach()) for one in (item, same))
    with torch.no_grad():
        out = taught.joint(collated([item], SIZES).teacher)
        softplus = torch.nn.functional.softplus
        begins = len(item.ids) + 1
        # the labels end before the patch that `stops_until` names; none of them is positive
        until = min(begins + item.stops_until, begins + 17 - 1 - 2)
        expected = float(softplus(out.stop_logits[0, begins:until]).mean())
    assert item.stops_until == 15 and cut == pytest.approx(expected, rel=1e-5) and cut != plain


def test_recomputing_activations_changes_nothing(clips: list[Clip]) -> None:
    recipe = small()
    data, taught = data_of(clips, recipe), Taught(fresh(recipe, 0), recipe)
    items = [data.item(index, np.random.default_rng(index)) for index in range(4)]
    gradients = []
    for wanted in (False, True):
        joint.recompute_activations(taught.joint, wanted)
        taught.zero_grad()
        torch.autograd.backward(weighted(losses_of(taught, recipe, items), recipe))
        gradients.append([p.grad.clone() for p in taught.parameters() if p.grad is not None])
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))


def test_losses_in_mixed_precision_are_nearly_the_same(clips: list[Clip]) -> None:
    recipe = small()
    data, taught = data_of(clips, recipe), Taught(fresh(recipe, 0), recipe)
    items = [data.item(index, np.random.default_rng(index)) for index in range(4)]
    plain = losses_of(taught, recipe, items)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = losses_of(taught, recipe, items)
        torch.autograd.backward(weighted(mixed, recipe))
    for name in ("speech", "motion", "stop", "phonemes", "latents"):
        assert mixed[name].dtype == torch.float32
        torch.testing.assert_close(mixed[name], plain[name], rtol=0.03, atol=0.01)
    assert all(bool(torch.isfinite(p.grad).all()) for p in taught.parameters() if p.grad is not None)


def test_accumulated_gradients_are_those_of_the_mean(
    tmp_path: Path, clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = stage_of(tmp_path, clips, monkeypatch, accumulate=3)
    batch = stage.batch(0, 0, 1)
    parameters = [p for group in stage.optimisers()["joint"].param_groups for p in group["params"]]
    found = list(stage.losses(batch, 0, torch.Generator().manual_seed(1)))
    assert [loss.partial for loss in found] == [True, True, False]
    torch.autograd.backward(sum(loss.value for loss in found))
    expected = [None if p.grad is None else p.grad.clone() for p in parameters]
    for p in parameters:
        p.grad = None
    for loss in stage.losses(batch, 0, torch.Generator().manual_seed(1)):
        torch.autograd.backward(loss.value)
    assert any(one is not None for one in expected)
    for p, one in zip(parameters, expected, strict=True):
        torch.testing.assert_close(p.grad, one)
    means = [stage.losses([some], 0, torch.Generator()) for some in batch]
    assert float(found[-1].logged["stop"]) == pytest.approx(
        np.mean([float(next(one).logged["stop"]) for one in means]), rel=1e-4
    )


# --- where it starts


def test_related_checkpoints_are_taken_over() -> None:
    model, source = fresh(small(), 0), fresh(small(), 1)
    own = source.state_dict()
    head = {f"motion_cfm.{n}": t for n, t in source.speech_cfm.state_dict().items()}
    head = {n.replace(".global_cond_proj.", ".spk_proj."): t for n, t in head.items()}
    patches = {f"patch_encoder.{n}": t for n, t in source.speech_patch_encoder.state_dict().items()}
    patches = {n.replace(".input_proj.", ".in_proj."): t for n, t in patches.items()}
    before = copy.deepcopy(model.motion_cfm.state_dict())
    assert take(model, {**head, **patches, "extra": torch.ones(1)}) == len(head) + len(patches)
    for name in ("speech_cfm", "speech_patch_encoder"):
        there, here = getattr(source, name).state_dict(), getattr(model, name).state_dict()
        assert all(torch.equal(there[key], here[key]) for key in there), name
    assert all(torch.equal(before[key], tensor) for key, tensor in model.motion_cfm.state_dict().items())
    model = fresh(small(), 0)
    words = {n.removeprefix("llm."): t for n, t in own.items() if n.startswith("llm.")}
    assert take(model, {**words, "model.norm.weight": torch.ones(3)}) == len(words) - 1  # another shape stays out
    assert torch.equal(model.llm.model.layers[0].mlp.up_proj.weight, own["llm.model.layers.0.mlp.up_proj.weight"])
    assert take(fresh(small(), 0), {"first_motion_proj": torch.ones(1)}) == 0


def test_training_goes_on_from_what_this_stage_has_made() -> None:
    given, wanted = fresh(small(), 1), fresh(small(), 2)
    made = {f"joint.{name}": tensor for name, tensor in given.state_dict().items()} | {"read_outs.bias": torch.ones(1)}
    assert take(wanted, made) == len(given.state_dict())
    unused = {"llm.lm_head.weight"}  # taken from the embedding, as in tied models
    changed = {
        name for name, tensor in wanted.state_dict().items() if not torch.equal(tensor, given.state_dict()[name])
    }
    assert changed <= unused


def test_where_training_cannot_start(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    file = tmp_path / "other.safetensors"
    save_file({"x": torch.ones(1)}, file)
    with pytest.raises(UsageError, match="none of its tensors"):
        started(small(), "tiny", str(file), 0)
    with pytest.raises(UsageError, match="no such file"):
        started(small(), "tiny", str(tmp_path / "absent"), 0)
    with pytest.raises(UsageError, match="goes on from the official weights"):
        started(small(), "full", None, 0)
    model, start = started(small(), "full", "fresh", 3)
    assert start == "fresh" and not bool(model.motion_pad_emb.any())
    assert 0.05 < float(model.llm.model.embed_tokens.weight.std()) < 0.15


# --- averages


def test_the_best_average_is_kept() -> None:
    recipe = small()
    average = Average(Taught(fresh(recipe, 0), recipe), 0.9)
    weight = average.learning.joint.head_stop.head.weight
    for score, value in ((2.0, 1.0), (1.0, 2.0), (3.0, 5.0)):
        for _ in range(200):
            with torch.no_grad():
                weight.fill_(value)
            average.update()
        average.offer(score)
    torch.testing.assert_close(average.kept.head_stop.head.weight, torch.full_like(weight, 2.0), rtol=1e-4, atol=0)
    torch.testing.assert_close(average.taught.joint.head_stop.head.weight, weight, rtol=1e-4, atol=0)


def test_without_held_out_clips_the_last_average_is_kept(
    tmp_path: Path, clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = stage_of(tmp_path, clips, monkeypatch, keep="last", eval_every=1)
    train(stage, TrainSettings(3, tmp_path / "out"), QUIET)
    kept = load_any(tmp_path / "out" / "weights.safetensors")
    for name in SpeechLLM(SIZES).state_dict():
        assert torch.equal(kept[f"joint.{name}"], kept[f"average.joint.{name}"]), name


# --- the stage


def run(stage: joint.JointStage, folder: Path, steps: int, every: int = 200) -> list[dict[str, float]]:
    train(stage, TrainSettings(steps, folder, every=every), QUIET)
    return read_curve(folder)


def test_two_pieces_equal_one(tmp_path: Path, clips: list[Clip], monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"eval_every": 2, "eval_batches": 1, "accumulate": 2}
    whole = run(stage_of(tmp_path, clips, monkeypatch, **settings), tmp_path / "one", 5)
    for steps in (3, 5):
        pieces = run(stage_of(tmp_path, clips, monkeypatch, **settings), tmp_path / "two", steps)
    assert pieces == whole and {"eval_speech", "eval_speech_other_text"} <= set(whole[2])
    one, two = (load_any(tmp_path / name / "weights.safetensors") for name in ("one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one) and one.keys() == two.keys()


def test_it_learns(tmp_path: Path, clips: list[Clip], monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = small(rate=5e-3, warm_up=5, schedule=60, speech_share=1.0)
    curve = run(stage_of(tmp_path, clips, monkeypatch, recipe, eval_every=1000), tmp_path / "out", 60)
    for name, least in (("speech", 0.1), ("motion", 0.2), ("phonemes", 0.8), ("latents", 0.1), ("stop", 0.1)):
        first, last = (np.mean([line[name] for line in part]) for part in (curve[:5], curve[-5:]))
        assert last < first - least, name


def test_the_weights_hold_the_joint_model_under_its_own_names(
    tmp_path: Path, clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(stage_of(tmp_path, clips, monkeypatch), tmp_path / "out", 1)
    found = load_any(tmp_path / "out" / "weights.safetensors")
    own = {name.removeprefix("joint."): t for name, t in found.items() if name.startswith("joint.")}
    SpeechLLM(SIZES).load_state_dict(own)


def test_full_size_has_the_official_optimisation(
    tmp_path: Path, clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    full = replace(RECIPES["full"], sizes=SIZES, batch_size=2)
    stage = stage_of(tmp_path, clips, monkeypatch, full)
    assert set(stage.networks()) == {"joint"}  # no average, no read-outs
    group = stage.optimisers()["joint"].param_groups[0]
    assert (group["betas"], group["weight_decay"]) == ((0.9, 0.95), 0.01)
    assert stage.clip_norm == {"joint": 1.0}
    rates = []
    for step in (0, 19_999, 110_000, 200_000, 300_000):
        stage.begin(step)
        rates.append(group["lr"])
    assert rates[0] == pytest.approx(1e-4 / 20_000) and rates[1] == pytest.approx(1e-4, rel=0.03)
    assert rates[3] == rates[4] == pytest.approx(1e-6)
    run(stage, tmp_path / "out", 2)
    trained = [name for name, p in stage.networks()["joint"].named_parameters() if not p.requires_grad]
    assert trained == ["llm.lm_head.weight"]


def together(folder: Path, steps: int, *more: str) -> None:
    """Two processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(SCRIPT)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, str(folder), str(steps), *more], check=False, capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr.decode()[-2000:]


def test_split_networks_learn_the_same_and_go_on_whole(tmp_path: Path) -> None:
    """FSDP's sums come in another order, so numbers are equal but for rounding; its checkpoint is anybody's."""
    together(tmp_path / "whole", 3, "ddp", "2")
    together(tmp_path / "split", 2, "fsdp", "2")
    together(tmp_path / "split", 3, "ddp", "2")
    for one, other in zip(read_curve(tmp_path / "whole"), read_curve(tmp_path / "split"), strict=True):
        assert one == pytest.approx(other, rel=1e-4)
    one, two = (load_any(tmp_path / name / "weights.safetensors") for name in ("whole", "split"))
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, two[name], rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_a_whole_training_goes_on_split(tmp_path: Path) -> None:
    together(tmp_path / "split", 3, "fsdp")
    together(tmp_path / "mixed", 1, "ddp")
    together(tmp_path / "mixed", 2, "fsdp")
    together(tmp_path / "mixed", 3, "fsdp")
    for one, other in zip(read_curve(tmp_path / "split"), read_curve(tmp_path / "mixed"), strict=True):
        assert one == pytest.approx(other, rel=1e-4)


def test_what_cannot_be_split_says_so(tmp_path: Path, clips: list[Clip], monkeypatch: pytest.MonkeyPatch) -> None:
    stage = stage_of(tmp_path, clips, monkeypatch)
    with pytest.raises(UsageError, match="several processes"):
        train(stage, TrainSettings(1, tmp_path / "out", parallel="fsdp"), QUIET)
    two, parts = World(0, 2, torch.device("cpu")), stage.sharded()
    with pytest.raises(UsageError, match="float16"):
        train_sharding.check(two, "float16", parts, "joint", averaged=False)
    with pytest.raises(UsageError, match="is not split"):
        train_sharding.check(two, "float32", (), "vae", averaged=False)
    with pytest.raises(UsageError, match="--parallel"):
        TrainSettings(1, tmp_path, parallel="sharded")


@pytest.mark.slow
def test_two_processes_share_the_clips_and_go_on_exactly(tmp_path: Path) -> None:
    for folder, steps in (("a", 3), ("b", 2), ("b", 3)):
        together(tmp_path / folder, steps)
    assert read_curve(tmp_path / "a") == read_curve(tmp_path / "b") and len(read_curve(tmp_path / "a")) == 3
    one, two = (load_any(tmp_path / name / "weights.safetensors") for name in ("a", "b"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_settings_are_checked(tmp_path: Path, clips: list[Clip]) -> None:
    request = joint_request(tmp_path, clips, speech_share=2.0, nonsense=1)
    with pytest.raises(UsageError, match=r"nonsense.*\n.*speech_share|speech_share.*\n.*nonsense"):
        request.options(JointOptions)
    with pytest.raises(UsageError, match="learns from the official VAE"):
        joint.stage(replace(joint_request(tmp_path, clips, vae="x"), config="full"))
