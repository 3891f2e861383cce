"""The network of HiCoDiT: its goldens, its sizes, its first values, and what each part may and may not depend on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from bench import conformance
from bench.detfill import fill_module
from bench.errors import UsageError
from bench.systems.hicodit.adapters_model import OPS
from bench.systems.hicodit.blocks import Block, adaptive_norm, per_frame, rotary_table, rotate
from bench.systems.hicodit.model import HiCoDiT
from bench.systems.hicodit.sizes import FULL, TINY, Sizes

GOLDEN = Path(__file__).parents[1] / "golden"
SMALL = Sizes(4, 2, 16, 32, 2, 4, 2, 2, lip=20, face=12, voice=8)
LENGTH = 57


def _filled(sizes: Sizes) -> HiCoDiT:
    return fill_module(HiCoDiT(sizes), 1.5).eval()


def _inputs(sizes: Sizes, clips: int = 2, length: int = LENGTH, seed: int = 0) -> dict[str, Tensor]:
    dice = torch.Generator().manual_seed(seed)
    return {
        "x": torch.randint(sizes.codes + 1, (clips, sizes.levels, length), generator=dice),
        "t_low": torch.rand(clips, generator=dice),
        "t_high": torch.rand(clips, generator=dice),
        "lip": torch.randn(clips, -(-length // 2), sizes.lip, generator=dice),
        "identity": F.normalize(torch.randn(clips, sizes.voice, generator=dice), dim=1),
        "emotion": torch.randint(sizes.classes, (clips, sizes.emotion_steps(length)), generator=dice),
    }


@torch.no_grad()
def _logits(model: HiCoDiT, **changed: Tensor) -> Tensor:
    out: Tensor = model(**(_inputs(model.sizes) | changed))
    return out


@pytest.mark.parametrize("op", OPS)
def test_the_goldens_of_the_network_pass(op: str) -> None:
    """Of the cases in the project."""
    results = [
        found for found in conformance.run(GOLDEN, ["hicodit"], ops=[op], tables={"hicodit": OPS}) if found.op == op
    ]
    assert results
    assert all(found.status == "pass" for found in results), results


@pytest.mark.parametrize(("sizes", "count"), [(TINY, 3_468_654), (replace(TINY, levels=6), 3_633_326)])
def test_the_tiny_model_has_the_size_that_the_design_states(sizes: Sizes, count: int) -> None:
    """Parameters without the front end (hicodit.md E.1)."""
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in HiCoDiT(sizes).parameters()) == count


def test_the_full_model_has_the_names_of_the_design() -> None:
    """Eight blocks a stack, twelve heads, one embedding row more than codes."""
    with torch.device("meta"):
        state = HiCoDiT(FULL).state_dict()
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    assert shapes["embed.11.weight"] == (1025, 768)
    assert shapes["heads.11.weight"] == (1024, 768)
    assert shapes["low.7.ada.weight"] == shapes["high.7.ada.weight"] == (6 * 768, 768)
    assert shapes["high.0.temporal.2.weight"] == (2, 192)
    assert shapes["emotion.embed.weight"] == (8, 768)
    assert shapes["identity.mlp.2.weight"] == (256, 512)
    assert shapes["lip.mlp.0.weight"] == (768, 1024)
    assert not {"low.0.temporal.0.weight", "low.8.ada.weight", "low.0.qkv.bias", "low.0.out.bias"} & set(shapes)


def test_the_first_prediction_is_uniform_and_temporal_factors_are_one() -> None:
    """Zero heads, and blocks that pass their input on."""
    model = HiCoDiT(SMALL).eval()
    assert torch.equal(_logits(model), torch.zeros(2, 4, LENGTH, 16))
    block = model.high[0]
    assert isinstance(block, Block)
    factors = block.factors(torch.randn(2, 3, 32))
    assert factors is not None
    assert torch.equal(factors, torch.ones(2, 3, 2))


def test_padding_changes_nothing() -> None:
    """A short clip in a padded batch has the logits that it has alone, whatever the padding holds."""
    model, short = _filled(SMALL), 31
    given = _inputs(SMALL)
    with torch.no_grad():
        padded = model(**given, lengths=torch.tensor([LENGTH, short]))[1, :, :short]
        alone = {name: value[1:2] for name, value in given.items()}
        alone |= {"x": alone["x"][..., :short], "emotion": alone["emotion"][:, : SMALL.emotion_steps(short)]}
        expected = model(**alone)[0]
    assert torch.allclose(padded, expected, atol=2e-5)


def test_low_levels_see_neither_emotion_nor_high_levels_nor_their_time() -> None:
    """What the low heads read must stay when these change; the high heads must notice."""
    model = _filled(SMALL)
    given = _inputs(SMALL)
    plain = _logits(model)
    x = given["x"].clone()
    x[:, 2:] = (x[:, 2:] + 1) % 16
    for changed in ({"emotion": (given["emotion"] + 1) % 7}, {"t_high": given["t_high"] / 2}, {"x": x}):
        other = _logits(model, **changed)
        assert torch.equal(other[:, :2], plain[:, :2])
        assert not torch.allclose(other[:, 2:], plain[:, 2:])


@pytest.mark.parametrize(("place", "name"), enumerate(("lip", "identity", "emotion")))
def test_a_dropped_condition_has_no_influence(place: int, name: str) -> None:
    """With its flag set the condition may be anything; without it it counts."""
    model = _filled(SMALL)
    given = _inputs(SMALL)[name]
    other = (given + 1) % 7 if name == "emotion" else -given
    drop = torch.zeros(2, 3, dtype=torch.bool)
    assert not torch.allclose(_logits(model, **{name: other, "drop": drop}), _logits(model, drop=drop))
    drop[:, place] = True
    assert torch.equal(_logits(model, **{name: other, "drop": drop}), _logits(model, drop=drop))


def test_a_picture_of_the_mouth_belongs_to_its_two_codec_frames() -> None:
    """Without blocks the logits change at these frames alone."""
    model = _filled(replace(SMALL, low_blocks=0, high_blocks=0))
    lip = _inputs(SMALL)["lip"]
    lip[:, 5] += 1
    changed = (_logits(model, lip=lip) != _logits(model)).any(-1).any(1)
    assert changed.nonzero()[:, 1].unique().tolist() == [10, 11]


@pytest.mark.parametrize("variant", [{"hierarchy": False}, {"dual_scale": False}, {"emotion": False}])
def test_variants_of_the_ablations(variant: dict[str, bool]) -> None:
    """Each runs, learns (gradients everywhere but in the adapter), and lacks exactly what it is about."""
    sizes = replace(SMALL, **variant)
    model = fill_module(HiCoDiT(sizes), 1.5)
    given = _inputs(sizes)
    model(**given).square().sum().backward()
    idle = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert {name.split(".mlp")[0] for name in idle} <= {"identity", "lip.null", "identity.null"}
    plain, other = _logits(model.eval()), _logits(model, emotion=(given["emotion"] + 1) % 7)
    seen = [not torch.equal(plain[:, level], other[:, level]) for level in range(4)]
    if "hierarchy" in variant:
        assert seen == [True] * 4
        assert len(model.high) == 4
        assert len(model.low) == 0
    else:
        assert seen == [False, False, *[sizes.emotion] * 2]
    if "dual_scale" in variant:
        assert not any("temporal" in name for name, _ in model.named_parameters())


def test_without_dual_scale_the_emotion_is_one_for_the_utterance() -> None:
    """The order of its steps plays no part; with the dual scale it does."""
    emotion = torch.tensor([[0, 1, 2], [3, 4, 5]])
    for sizes, equal in ((replace(SMALL, dual_scale=False), True), (SMALL, False)):
        model = _filled(sizes)
        turned = _logits(model, emotion=emotion.flip(1))
        assert torch.allclose(turned, _logits(model, emotion=emotion), atol=1e-5) is equal


def test_positions_are_relative() -> None:
    """A product of rotated vectors depends on their distance alone, and lengths stay."""
    dice = torch.Generator().manual_seed(0)
    q, k = (torch.randn(16, generator=dice).expand(40, 16) for _ in range(2))
    table = rotary_table(40, 16, torch.device("cpu"))
    products = rotate(q, table) @ rotate(k, table).T
    assert torch.allclose(products[3, 10], products[25, 32], atol=1e-4)
    assert not torch.allclose(products[3, 10], products[10, 3], atol=1e-2)
    assert torch.allclose(rotate(q, table).norm(dim=1), q.norm(dim=1), atol=1e-4)


def test_a_rotary_table_made_while_sampling_serves_training() -> None:
    """A table that inference mode made must not break a later backward pass."""
    rotary_table.cache_clear()
    model = _filled(SMALL)
    with torch.inference_mode():
        model(**_inputs(SMALL))
    model(**_inputs(SMALL)).sum().backward()
    assert model.low[0].qkv.weight.grad is not None


def test_wanted_frames_of_a_block_are_those_of_the_whole() -> None:
    """In any order, different in each row."""
    block = fill_module(Block(32, 2, 4, 0.0, True), 1.0).eval()
    dice = torch.Generator().manual_seed(0)
    h, modulation, factors = (torch.randn(*s, generator=dice) for s in ((2, 9, 32), (2, 6, 32), (2, 9, 2)))
    keys = torch.ones(2, 1, 1, 9, dtype=torch.bool)
    keys[1, ..., 6:] = False
    frames = torch.tensor([[7, 0, 3], [2, 5, 1]])
    with torch.no_grad():
        whole = block(h, modulation, factors, keys)
        some = block(h, modulation, factors, keys, frames)
    assert torch.allclose(some, torch.stack([whole[0, frames[0]], whole[1, frames[1]]]), atol=1e-5)


def test_the_temporal_factor_scales_the_shift_too() -> None:
    """A factor of zero erases the branch's input."""
    h = torch.randn(1, 4, 8, generator=torch.Generator().manual_seed(0))
    ones = torch.ones(1, 1, 8)
    out = adaptive_norm(h, ones, ones, torch.tensor([[0.0, 1.0, 2.0, 0.0]]))
    assert torch.equal(out[0, 0], torch.zeros(8))
    assert torch.allclose(out[0, 2], 2 * adaptive_norm(h, ones, ones)[0, 2])


def test_too_few_emotion_steps_and_impossible_sizes_are_refused() -> None:
    """With a reason."""
    with pytest.raises(ValueError, match="2 emotion steps do not last for 57"):
        per_frame(torch.zeros(1, 2, 1), 25, 57)
    with pytest.raises(UsageError, match="low_levels"):
        replace(TINY, low_levels=4)
    with pytest.raises(UsageError, match="heads of even size"):
        replace(TINY, heads=3)


def test_the_visual_identity_has_unit_norm() -> None:
    """Like the voice vectors that it stands for."""
    vectors = _filled(SMALL).visual_identity(torch.randn(3, 12))
    assert vectors.shape == (3, 8)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(3))
