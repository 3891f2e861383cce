"""The forms of LIA-X's operators without gradients against those with: equal up to rounding, also at borders."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from bench.detfill import fill_module
from bench.systems.talker import lia_decoder, lia_fast, lia_ops
from bench.systems.talker.lia import Generator
from bench.systems.talker.lia_decoder import ExactGroupNorm, flow_of
from bench.systems.talker.lia_ops import ConvLayer, Upsample
from bench.systems.talker.lia_sizes import LiaSizes

SMALL = LiaSizes(size=32, widths=(8, 8, 4), style_dim=6, motion_dim=3, blocks=2, groups=4)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def random_map(*shape: int, seed: int = 0) -> Tensor:
    return random(*shape, seed=seed).contiguous(memory_format=torch.channels_last)


def test_what_is_learnt_goes_the_other_way() -> None:
    x = random(1, 2, 4, 4)
    assert not lia_fast.wanted(x) and lia_fast.room(x) is None
    with torch.no_grad():
        assert lia_fast.wanted(x) and lia_fast.room(x) is x


@pytest.mark.parametrize("size", [(1, 1), (4, 7)])
def test_doubling_in_quarters_is_interpolation(size: tuple[int, int]) -> None:
    x, up = random(2, 3, *size), Upsample()
    torch.testing.assert_close(lia_fast.doubled(x), up(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("side", [1, 2, 5, 8])
def test_convolving_before_the_blur_is_convolving_after_it(side: int) -> None:
    layer = ConvLayer(3, 5, 3, upsample=True)
    fill_module(layer, 2.0, ("0.kernel",))
    x = random_map(2, 3, side, side)
    wanted = layer(x)
    folded = lia_ops.folded(copy.deepcopy(layer))
    assert folded.edges is not None
    with torch.no_grad():
        torch.testing.assert_close(folded(x), wanted, rtol=1e-5, atol=1e-6)
        blurred_last = F.conv_transpose2d(x, folded.conv.weight.transpose(0, 1).flip(2, 3), stride=2)
        bare = lia_ops.Blur((1, 1), factor=2)(blurred_last)
        made = lia_fast.without_surroundings(bare.clone(), x, folded.edges)
    assert (made - bare)[..., 1:-1, 1:-1].abs().max() == 0 if side > 1 else True
    assert (made - bare)[..., 0, :].abs().max() > 1e-3


@pytest.mark.parametrize("far", [0.0, 0.3, 3.0])
def test_moving_by_a_table_is_sampling_on_a_grid(far: float) -> None:
    """Small flows, flows over the border, and flows to places outside on all sides; zero flow is exact."""
    source, raw = random_map(1, 4, 9, 9), far * random(3, 3, 9, 9, seed=1)
    raw[0] = 0.0
    mask = torch.sigmoid(raw[:, 2:])
    grid = F.grid_sample(source.expand(3, -1, -1, -1), flow_of(raw), padding_mode="zeros", align_corners=True)
    made = lia_fast.warped(source, raw, mask)
    torch.testing.assert_close(made, grid * mask, rtol=0, atol=2e-5)
    assert made.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(made[0], source[0] * 0.5, rtol=1e-6, atol=1e-6)


def test_a_place_far_outside_reads_zeros() -> None:
    source = random_map(1, 4, 8, 8)
    raw = torch.full((1, 3, 8, 8), 50.0)  # tanh of that is 1: half of the map, 3.5 pixels, to the right and down
    made = lia_fast.warped(source, raw, torch.ones(1, 1, 8, 8))
    assert made[0, :, 5:].abs().max() == 0 and made[0, :, :, 5:].abs().max() == 0
    torch.testing.assert_close(made[0, :, 0, 0], source[0, :, 3:5, 3:5].mean((1, 2)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("groups", [1, 4, 8])
@pytest.mark.parametrize("mean", [0.0, 50.0])
def test_normalising_by_rows_is_as_exact(groups: int, mean: float) -> None:
    x, scales = random_map(2, 8, 32, 32) + mean, random(2, 8, seed=1)
    norm = ExactGroupNorm(groups, 8).eval()
    with torch.no_grad():
        norm.weight.copy_(random(8, seed=2))
        norm.bias.copy_(random(8, seed=3))
        made = norm.scaled(x, scales)
    exact = F.group_norm(x.double(), groups, norm.weight.double(), norm.bias.double(), norm.eps)
    wanted = exact * scales.double()[:, :, None, None]
    torch.testing.assert_close(made.double(), wanted, rtol=0, atol=1e-4 if mean else 1e-5)


def test_few_maps_are_mixed_as_by_a_convolution() -> None:
    x, weight, bias = random_map(2, 6, 5, 4), random(3, 6, 1, 1), random(3)
    torch.testing.assert_close(lia_fast.mixed(x, weight, bias), F.conv2d(x, weight, bias), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(lia_fast.mixed(x, weight, None), F.conv2d(x, weight), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cached", [1, 3 * 8 * 16 * 16 * 4, 1 << 30])
def test_pictures_are_those_of_the_learnt_form_however_many_fit(cached: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One by one from the first stage on, three at a time in the second, or all at once."""
    monkeypatch.setattr(lia_decoder, "_CACHED", cached)
    network = Generator(SMALL)
    fill_module(network, 3.0, tuple(name for name in network.state_dict() if name.endswith("kernel")))
    network.eval()
    coarse = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    z, maps = network.enc.enc_2r(F.interpolate(coarse, size=32, mode="bilinear"))
    alpha = random(7, 3)
    wanted = network.move(z, maps, alpha).detach()
    folded = lia_ops.folded(network)
    with torch.inference_mode():
        made = folded.move(z, maps, alpha)
    assert wanted.std() > 0.01
    torch.testing.assert_close(made, wanted, rtol=1e-4, atol=1e-5)
