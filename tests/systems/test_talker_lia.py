"""LIA-X's networks: names, goldens, every form against the plain one, sizes, initial values and growth."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench import conformance
from bench.detfill import fill_module
from bench.systems.talker import lia_ops
from bench.systems.talker.adapters_lia import OPS
from bench.systems.talker.lia import Generator
from bench.systems.talker.lia_decoder import ExactGroupNorm, FlowBlock, RgbBlock, ToFlow, ToRGB, flow_of
from bench.systems.talker.lia_encoder import ResBlock
from bench.systems.talker.lia_ops import Blur, ConvLayer, Direction, ModulatedConv2d, StyledConv, Upsample, folded
from bench.systems.talker.lia_sizes import TINY, TINY64, LiaSizes, scaled
from bench.systems.talker.lia_start import begin_as_copy, grow

ROOT = Path(__file__).parents[2]
SMALL = LiaSizes(size=16, widths=(8, 8), style_dim=6, motion_dim=3, blocks=2, groups=4)
PARAMETERS = {TINY64: 566_996, TINY: 590_125}
LONG = {"lia_generator"}  # half a minute a case and more
STAY = {"motion_normalisation"}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(size: int, count: int = 2, seed: int = 0) -> Tensor:
    coarse = torch.rand(count, 3, 4, 4, generator=draws(seed)) * 2 - 1
    return F.interpolate(coarse, size=size, mode="bilinear")


def filled(module: nn.Module, gain: float = 3.0) -> nn.Module:
    keep = tuple(name for name in module.state_dict() if name.endswith("kernel"))
    return fill_module(module, gain, keep)


def test_names_and_shapes_are_the_official_ones() -> None:
    path = ROOT / "bench" / "manifests" / "talker_lia_x_generator.json"
    official = json.loads(path.read_text(encoding="utf-8"))["tensors"]
    with torch.device("meta"):
        made = Generator()  # 910.6 million numbers, of which none is drawn
    assert {name: list(t.shape) for name, t in made.state_dict().items()} == {
        name: entry["shape"] for name, entry in official.items()
    }


@pytest.mark.parametrize("sizes", [TINY64, TINY])
def test_the_small_generators_have_the_parameters_of_the_recipe(sizes: LiaSizes) -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in Generator(sizes).parameters()) == PARAMETERS[sizes]


@pytest.mark.parametrize(
    "op", [pytest.param(op, marks=[pytest.mark.slow] if op in LONG else []) for op in OPS if op not in STAY]
)
def test_goldens(op: str) -> None:
    assert failures(ROOT / "tests" / "golden", op) == []


@pytest.mark.parametrize("op", sorted(STAY))
def test_goldens_that_stay_outside(op: str) -> None:
    folder = ROOT.parent / "shared" / "golden"
    if not folder.is_dir():
        pytest.skip("its cases hold a recording of others and stay in ../shared/golden")
    assert failures(folder, op) == []


def failures(folder: Path, op: str) -> list[tuple[str, str]]:
    results = conformance.run(folder, ["talker"], ops=[op], tables={"talker": OPS})
    return [(result.case, result.detail) for result in results if result.status != "pass"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 48}, "size 48 is no power of two"),
        ({"size": 4, "widths": ()}, "size 4 is no power of two"),
        ({"size": 32}, "size 32 has 3 stages, 2 widths are given"),
        ({"groups": 3}, "cannot be divided into 3 groups"),
    ],
)
def test_sizes_that_cannot_be(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LiaSizes(**({"size": 16, "widths": (8, 8), "groups": 4} | changes))  # type: ignore[arg-type]


def test_the_published_scale() -> None:
    assert scaled(2.0) == LiaSizes()
    assert scaled(0.5, 7) == LiaSizes(widths=(256, 256, 256, 256, 128, 64, 32), style_dim=256, motion_dim=7)


def test_doubling_is_the_filter_between_zeros() -> None:
    x, up = torch.randn(2, 3, 5, 4, generator=draws()), Upsample()
    wanted = lia_ops.upfirdn2d(x, up.kernel, up=2, pad=(2, 1))
    torch.testing.assert_close(up(x), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("pad", [(1, 1), (2, 1), (2, 2)])
def test_blurring_every_other_pixel_is_blurring_all(pad: tuple[int, int]) -> None:
    x, blur = torch.randn(2, 3, 8, 8, generator=draws()), Blur(pad, factor=2)
    torch.testing.assert_close(blur(x, 2), blur(x)[:, :, ::2, ::2], rtol=0, atol=1e-6)
    torch.testing.assert_close(blur(x), lia_ops.upfirdn2d(x, blur.kernel, pad=pad), rtol=0, atol=1e-6)


def grouped(conv: ModulatedConv2d, x: Tensor, style: Tensor) -> Tensor:
    """The published form: weights of each sample, all samples as groups of one convolution."""
    batch, inside, height, width = x.shape
    outside, kernel = conv.weight.shape[1], conv.weight.shape[-1]
    weight = conv.scale * conv.weight * conv.modulation(style)[:, None, :, None, None]
    if conv.demodulate:
        weight = weight * torch.rsqrt(weight.square().sum((2, 3, 4), keepdim=True) + 1e-8)
    if conv.upsample:
        weight = weight.transpose(1, 2).reshape(batch * inside, outside, kernel, kernel)
        y = F.conv_transpose2d(x.reshape(1, -1, height, width), weight, stride=2, groups=batch)
        return conv.blur(y.view(batch, outside, *y.shape[2:]))
    weight = weight.reshape(batch * outside, inside, kernel, kernel)
    if conv.downsample:
        x = conv.blur(x)
        y = F.conv2d(x.reshape(1, -1, *x.shape[2:]), weight, stride=2, groups=batch)
    else:
        y = F.conv2d(x.reshape(1, -1, height, width), weight, padding=kernel // 2, groups=batch)
    return y.view(batch, outside, *y.shape[2:])


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("ways", [{}, {"upsample": True}, {"downsample": True}, {"demodulate": False}])
def test_a_modulated_convolution_is_the_grouped_one(kernel: int, ways: dict[str, bool]) -> None:
    if kernel == 1 and "upsample" in ways:
        pytest.skip("the source enlarges with kernels of three")
    conv = filled(ModulatedConv2d(4, 6, kernel, 5, **ways))
    assert isinstance(conv, ModulatedConv2d)
    x, style = torch.randn(3, 4, 8, 8, generator=draws()), torch.randn(3, 5, generator=draws(1))
    torch.testing.assert_close(conv(x, style), grouped(conv, x, style), rtol=1e-4, atol=1e-5)


MODULES: dict[str, tuple[Callable[[], nn.Module], list[tuple[int, ...]]]] = {
    "conv": (lambda: ConvLayer(2, 3, 3), [(2, 2, 4, 4)]),
    "down": (lambda: ConvLayer(2, 3, 3, downsample=True), [(2, 2, 4, 4)]),
    "up": (lambda: ConvLayer(2, 3, 3, upsample=True), [(2, 2, 4, 4)]),
    "plain": (lambda: ConvLayer(2, 3, 3, bias=False), [(2, 2, 4, 4)]),
    "styled": (lambda: StyledConv(2, 3, 3, 4), [(2, 2, 4, 4), (2, 4)]),
    "styled_up": (lambda: StyledConv(2, 3, 3, 4, upsample=True), [(2, 2, 4, 4), (2, 4)]),
    "encoder_block": (lambda: ResBlock(2, 3), [(1, 2, 4, 4)]),
    "rgb_block": (lambda: RgbBlock(2, 2), [(1, 2, 4, 4)]),
    "flow_block": (lambda: FlowBlock(2, 4, 1), [(1, 2, 4, 4), (1, 4)]),
    "rgb": (lambda: ToRGB(2), [(1, 2, 4, 4), (1, 3, 2, 2)]),
    "flow": (lambda: ToFlow(2, 4), [(1, 2, 4, 4), (1, 4), (1, 2, 4, 4), (1, 3, 2, 2)]),
    "direction": (lambda: Direction(5, 3), [(2, 3)]),
}


@pytest.mark.parametrize("name", MODULES)
def test_gradients_are_the_slopes(name: str) -> None:
    """Of inputs and parameters: sums in place and factors moved to the weights change nothing."""
    make, shapes = MODULES[name]
    module = filled(make(), 2.0).double()
    names, values = zip(*module.named_parameters(), strict=True)
    given = [torch.randn(shape, generator=draws(i)).double().requires_grad_() for i, shape in enumerate(shapes)]

    def run(*arguments: Tensor) -> object:
        tensors = dict(zip(names, arguments[len(given) :], strict=True))
        return torch.func.functional_call(module, tensors, arguments[: len(given)])

    assert torch.autograd.gradcheck(run, (*given, *(v.detach().requires_grad_() for v in values)))


def test_folding_changes_rounding_alone_and_only_once() -> None:
    plain = filled(Generator(SMALL))
    fast = folded(copy.deepcopy(plain))
    x = pictures(16)
    with torch.inference_mode():
        wanted = plain(x, x.flip(0))
        torch.testing.assert_close(fast(x, x.flip(0)), wanted, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(folded(fast)(x, x.flip(0)), wanted, rtol=1e-4, atol=1e-5)
    assert list(fast.state_dict()) == list(plain.state_dict())
    assert not any(p.requires_grad for p in fast.parameters())


def test_a_folded_network_moves_to_another_precision_whole() -> None:
    fast = folded(filled(Generator(SMALL))).double()
    assert fast(pictures(16).double(), pictures(16).double()).dtype == torch.float64


def test_no_picture_knows_of_the_others() -> None:
    network = filled(Generator(SMALL)).eval()
    with torch.inference_mode():
        z, maps = network.enc.enc_2r(pictures(16, 1))
        alpha = torch.randn(3, 3, generator=draws())
        alone = torch.cat([network.move(z, maps, code[None]) for code in alpha])
        torch.testing.assert_close(network.move(z, maps, alpha), alone, rtol=1e-4, atol=1e-5)


def test_the_relative_motion_is_counted_from_the_start() -> None:
    network = filled(Generator(SMALL)).eval()
    z, (a, b, c) = torch.randn(1, 6, generator=draws()), torch.randn(3, 1, 3, generator=draws(1))
    torch.testing.assert_close(network.styles(z, a, (b, a)), network.styles(z, b))
    q = torch.linalg.qr(network.dec.direction.weight + 1e-8).Q
    torch.testing.assert_close(network.styles(z, a, (b, c)), z + (a - c + b) @ q.t())


def test_every_parameter_learns() -> None:
    network = filled(Generator(SMALL))
    network(pictures(16), pictures(16, seed=1)).square().mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().max() > 0] == []


def test_a_map_far_from_zero_is_normalised_as_exactly() -> None:
    """PyTorch's own normalisation of maps laid out channels last is 2e-3 off here."""
    x = torch.randn(2, 8, 32, 32, generator=draws()) + 50.0
    made = ExactGroupNorm(4, 8).eval()(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(made.double(), F.group_norm(x.double(), 4), rtol=0, atol=3e-5)


def test_without_flow_a_place_reads_itself() -> None:
    flow = flow_of(torch.zeros(1, 3, 5, 5))
    assert flow[0, 0, 0].tolist() == [-1.0, -1.0] and flow[0, 4, 2].tolist() == [0.0, 1.0]


@pytest.mark.parametrize("sizes", [TINY64, LiaSizes(32, (8, 8, 8), 8, 3, blocks=2, groups=4)])
def test_a_new_generator_copies_its_source(sizes: LiaSizes) -> None:
    network = begin_as_copy(Generator(sizes), draws())
    x = pictures(sizes.size)
    with torch.no_grad():
        for stage in network.dec.stages:  # the small random flow aside
            network.get_submodule(f"dec.{stage.to_flow}.conv").get_parameter("weight").zero_()
        y = network(x, x.flip(0))
    assert (y - x).abs().mean() < 1e-3
    assert (y - x)[..., 4:-4, 4:-4].abs().max() < 5e-4  # at the borders the masks are blurred with nothing


def test_initial_values_come_from_the_given_draws() -> None:
    first, second, other = (begin_as_copy(Generator(SMALL), draws(seed)) for seed in (1, 1, 2))
    same = [torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)]
    assert all(same)
    assert not torch.equal(first.dec.input.input, other.dec.input.input)
    assert first.dec.get_parameter("conv2_1.conv.modulation.bias").tolist() == [1.0] * 8
    assert math.isclose(float(first.dec.get_parameter("conv_512_2.0.gamma")[0, 0, 0, 0]), 0.1, rel_tol=1e-6)


def test_copying_takes_two_channels_a_colour() -> None:
    with pytest.raises(ValueError, match="the last stage has 4 channels, copying takes 6"):
        begin_as_copy(Generator(LiaSizes(8, (4,), 4, 2, blocks=1, groups=2)))


def test_a_grown_generator_makes_the_enlarged_picture() -> None:
    small = begin_as_copy(Generator(TINY64), draws())
    large = grow(small, draws(1))
    x = pictures(128)
    halved = F.avg_pool2d(x, 2)
    with torch.no_grad():
        wanted = F.interpolate(small(halved, halved.flip(0)), scale_factor=2.0, mode="bilinear")
        made = large(x, x.flip(0))
        codes, before = large.get_alpha(x), small.get_alpha(halved)
    assert large.sizes == TINY
    assert (made - wanted).abs().mean() < 0.03
    assert (codes - before).abs().max() < 0.2 * before.std()
