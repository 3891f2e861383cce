"""The blocks that text-to-vec is made of, against torch, loops and calculus."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.nets.weight_norm import WNConv1d, WNConv2d, WNConvTranspose1d, fold_weight_norm
from bench.systems.hierspeech.align import log_likelihoods, monotonic_tokens
from bench.systems.hierspeech.attention import MASKED_SCORE, RelativeAttention, RelativeEncoder
from bench.systems.hierspeech.duration import ConvFlow, ElementwiseAffine, StochasticDurationPredictor
from bench.systems.hierspeech.flows import TransformerFlow
from bench.systems.hierspeech.pitch_predictor import PitchPredictor
from bench.systems.hierspeech.sequence import (
    generator_noise,
    given_noise,
    is_padded,
    sequence_mask,
    stretch,
    take_slices,
    token_of_frame,
)
from bench.systems.hierspeech.spline import rational_quadratic_spline
from bench.systems.hierspeech.style import StyleEncoder
from bench.systems.hierspeech.wavenet import WN

PAIRS = [
    (WNConv1d(4, 6, 3, padding=2, dilation=2), nn.Conv1d(4, 6, 3, padding=2, dilation=2), (2, 4, 9)),
    (WNConv1d(4, 4, 3, stride=2, groups=2, bias=False), nn.Conv1d(4, 4, 3, stride=2, groups=2, bias=False), (2, 4, 9)),
    (
        WNConv2d(2, 3, (3, 5), (1, 2), (2, 2), (2, 1)),
        nn.Conv2d(2, 3, (3, 5), (1, 2), (2, 2), (2, 1)),
        (2, 2, 7, 9),
    ),
    (WNConvTranspose1d(4, 6, 4, 2, 1), nn.ConvTranspose1d(4, 6, 4, 2, 1), (2, 4, 9)),
]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def filled(module: nn.Module) -> nn.Module:
    """Other numbers than the zeros that flows begin with."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.15)
    return module.eval()


@pytest.mark.parametrize(("ours", "plain", "shape"), PAIRS, ids=["conv", "groups", "conv2d", "transposed"])
def test_weight_norm_is_torchs(ours: nn.Module, plain: nn.Module, shape: tuple[int, ...]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = nn.utils.weight_norm(plain)
    assert set(ours.state_dict()) == set(theirs.state_dict())
    with torch.no_grad():
        theirs.weight_g.mul_(1.7)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(shape)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ours.fold()(x), theirs(x), rtol=1e-5, atol=1e-6)
    for net in (ours, theirs):
        net.zero_grad()
        net(x).square().sum().backward()
    torch.testing.assert_close(ours.weight_v.grad, theirs.weight_v.grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.weight_g.grad, theirs.weight_g.grad, rtol=1e-4, atol=1e-5)


def test_weight_norm_begins_with_ordinary_outputs_and_folds_deeply() -> None:
    conv = WNConv1d(256, 256, 5)
    torch.testing.assert_close(conv.effective_weight(), conv.weight_v)  # g = |v|
    assert conv(torch.randn(4, 256, 64)).std().item() == pytest.approx(0.6, abs=0.05)
    net = nn.Sequential(WN(4, 3, 1, 2, 3), nn.Identity()).eval()
    x, g, mask = torch.randn(1, 4, 6), torch.randn(1, 3, 1), torch.ones(1, 1, 6)
    before = net[0](x, mask, g)
    assert fold_weight_norm(net) is net
    assert not any(isinstance(m, WNConv1d) for m in net.modules())
    torch.testing.assert_close(net[0](x, mask, g), before, rtol=0, atol=0)


def test_transposed_convolution_refuses_an_output_size() -> None:
    with pytest.raises(ValueError, match="no output size"):
        WNConvTranspose1d(1, 1, 4, 2)(torch.zeros(1, 1, 3), [6])


def naive_attention(net: RelativeAttention, x: Tensor, mask: Tensor) -> Tensor:
    """The formula, pair by pair."""
    q, k, v = net.conv_q(x)[0], net.conv_k(x)[0], net.conv_v(x)[0]
    out = torch.zeros_like(q)
    for head in range(net.heads):
        rows = slice(head * net.width, (head + 1) * net.width)
        for i in range(x.shape[2]):
            scores, values = [], []
            for j in range(x.shape[2]):
                key, value = k[rows, j], v[rows, j]
                if net.window is not None and abs(j - i) <= net.window:
                    key = key + net.emb_rel_k[0, j - i + net.window]
                    value = value + net.emb_rel_v[0, j - i + net.window]
                score = q[rows, i] @ key / net.width**0.5
                scores.append(score if mask[0, 0, i] * mask[0, 0, j] else torch.tensor(MASKED_SCORE))
                values.append(value)
            out[rows, i] = torch.stack(scores).softmax(0) @ torch.stack(values)
    return net.conv_o(out.unsqueeze(0))


@pytest.mark.parametrize("window", [4, 1, None])
@pytest.mark.parametrize("size", [2, 9])
def test_relative_attention_is_the_formula(window: int | None, size: int) -> None:
    net = filled(RelativeAttention(6, 2, window))
    x, mask = torch.randn(1, 6, size), sequence_mask(torch.tensor([max(size - 3, 1)]), size)
    with torch.no_grad():
        torch.testing.assert_close(net(x, mask), naive_attention(net, x, mask), rtol=1e-4, atol=1e-5)


def test_encoder_does_not_see_padding_and_takes_even_kernels() -> None:
    net = filled(RelativeEncoder(8, 12, 2, 2, kernel_size=4, p_dropout=0.3))
    x = torch.randn(2, 8, 11)
    with torch.no_grad():
        alone = net(x[:1, :, :6], torch.ones(1, 1, 6))
        both = net(x, sequence_mask(torch.tensor([6, 11])))
    torch.testing.assert_close(both[:1, :, :6], alone)
    assert not both[0, :, 6:].any()


def test_sizes_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="shared by 4 heads"):
        RelativeAttention(6, 4)
    with pytest.raises(ValueError, match="even number"):
        TransformerFlow(5, 8)
    with pytest.raises(ValueError, match="shared by 3 heads"):
        TransformerFlow(4, 8, heads=3)
    with pytest.raises(ValueError, match="odd"):
        WN(4, 4, 1, 2)
    with pytest.raises(ValueError, match="needs a layer"):
        WN(4, 3, 1, 0)


def test_flow_begins_as_a_permutation_and_is_inverted_by_its_inverse() -> None:
    flow = TransformerFlow(6, 8, n_layers=1, n_flows=3, gin_channels=4).eval()
    x, g, mask = torch.randn(2, 6, 7), torch.randn(2, 4, 1), torch.ones(2, 1, 7)
    with torch.no_grad():
        torch.testing.assert_close(flow(x, mask, g), x.flip(1))
        filled(flow)
        z = flow(x, mask, g)
        assert (z - x.flip(1)).abs().max() > 0.1
        torch.testing.assert_close(flow(z, mask, g, reverse=True), x, rtol=1e-4, atol=1e-5)


def test_isolated_items_are_as_if_alone_and_official_ones_are_not() -> None:
    flow = filled(TransformerFlow(6, 8, n_layers=2, n_flows=2, gin_channels=4))
    lengths = torch.tensor([4, 9])
    mask = sequence_mask(lengths)
    x, g = torch.randn(2, 6, 9) * mask, torch.randn(2, 4, 1)
    with torch.no_grad():
        alone = flow(x[:1, :, :4], mask[:1, :, :4], g[:1], reverse=True)
        isolated = flow(x, mask, g, reverse=True, isolate=True)
        official = flow(x, mask, g, reverse=True)
    torch.testing.assert_close(isolated[:1, :, :4], alone, rtol=1e-4, atol=1e-5)
    assert not isolated[0, :, 4:].any()
    assert (official[:1, :, :4] - alone).abs().max() > 1e-3
    torch.testing.assert_close(official[1], isolated[1], rtol=1e-4, atol=1e-5)


def test_isolated_styles_and_pitch_are_as_if_alone() -> None:
    style, pitch = filled(StyleEncoder(5, 8, 6)), filled(PitchPredictor(7, 16, 6))
    mask = sequence_mask(torch.tensor([6, 10]))
    mel, features, g = torch.randn(2, 5, 10), torch.randn(2, 7, 10) * mask, torch.randn(2, 6, 1)
    with torch.no_grad():
        alone = style(mel[:1, :, :6], mask[:1, :, :6])
        torch.testing.assert_close(style(mel, mask, isolate=True)[:1], alone, rtol=1e-4, atol=1e-5)
        assert (style(mel, mask)[:1] - alone).abs().max() > 1e-3
        alone = pitch(features[:1, :, :6], g[:1])
        together = pitch(features, g, mask)
        torch.testing.assert_close(together[:1, :, :24], alone, rtol=1e-4, atol=1e-5)
        assert not together[0, :, 24:].any()
        assert (pitch(features, g)[:1, :, :24] - alone).abs().max() > 1e-4


def spline_parameters(count: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    return tuple(torch.randn(count, size, dtype=dtype) for size in (10, 10, 9))


def test_spline_is_inverted_and_its_slope_is_the_derivative() -> None:
    x = torch.cat([torch.linspace(-7, 7, 57, dtype=torch.float64), torch.tensor([-5.0, 5.0]).double()])
    shape = spline_parameters(len(x))
    x.requires_grad_()
    y, log_slope = rational_quadratic_spline(x, *shape)
    (slope,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(log_slope.exp(), slope)
    back, log_back = rational_quadratic_spline(y, *shape, reverse=True)
    torch.testing.assert_close(back, x)
    torch.testing.assert_close(log_back, -log_slope, rtol=1e-6, atol=1e-6)
    outside = x.abs() > 5
    assert torch.equal(y[outside], x[outside])
    assert not log_slope[outside].any()


def test_spline_rises_and_joins_its_tails() -> None:
    x = torch.linspace(-5.2, 5.2, 4001, dtype=torch.float64)
    one = [values.expand(len(x), -1) for values in spline_parameters(1)]
    y, _ = rational_quadratic_spline(x, *one)
    assert (y.diff() > 0).all()
    ends = rational_quadratic_spline(torch.tensor([-5.0, 5.0]).double(), *(v[:2] for v in one))
    torch.testing.assert_close(ends[0], torch.tensor([-5.0, 5.0]).double())
    torch.testing.assert_close(ends[1], torch.zeros(2).double(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("reverse", [False, True])
def test_spline_with_nothing_inside_is_the_identity_with_sound_gradients(reverse: bool) -> None:
    x = torch.tensor([9.0, -8.0, 1e6])
    shape = [values.requires_grad_() for values in spline_parameters(3, torch.float32)]
    y, log_slope = rational_quadratic_spline(x, *shape, reverse=reverse)
    assert torch.equal(y, x)
    (y.sum() + log_slope.sum()).backward()
    assert all(values.grad is not None and values.grad.isfinite().all() for values in shape)


@pytest.mark.parametrize("kind", ["affine", "spline"])
def test_duration_flows_are_inverted_and_know_their_determinant(kind: str) -> None:
    flow = filled(ElementwiseAffine(2) if kind == "affine" else ConvFlow(6, 3)).double()
    extra = () if kind == "affine" else (torch.randn(1, 6, 4).double(),)
    mask, x = torch.ones(1, 1, 4).double(), torch.randn(1, 2, 4).double()
    with torch.no_grad():
        y, log_det = flow(x, mask, *extra)
        torch.testing.assert_close(flow.inverse(y, mask, *extra), x)
    jacobian = torch.autograd.functional.jacobian(lambda v: flow(v, mask, *extra)[0], x).reshape(8, 8)
    torch.testing.assert_close(jacobian.slogdet().logabsdet.reshape(1), log_det)


def test_duration_loss_ignores_padding_and_sends_nothing_back() -> None:
    net = filled(StochasticDurationPredictor(6, gin_channels=4))
    x, g = torch.randn(2, 6, 8, requires_grad=True), torch.randn(2, 4, 1, requires_grad=True)
    w, noise = torch.randint(1, 6, (2, 1, 8)).float(), torch.randn(2, 2, 8)
    mask = sequence_mask(torch.tensor([5, 8]))
    nll = net(x, mask, w * mask, g, noise)
    alone = net(x[:1, :, :5], mask[:1, :, :5], w[:1, :, :5], g[:1], noise[:1, :, :5])
    torch.testing.assert_close(nll[:1], alone)
    sampled = net.sample(x, mask, g, noise)
    torch.testing.assert_close(sampled[:1, :, :5], net.sample(x[:1, :, :5], mask[:1, :, :5], g[:1], noise[:1, :, :5]))
    nll.sum().backward()
    assert x.grad is None
    assert g.grad is None
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def best_path(value: np.ndarray) -> tuple[float, list[int]]:
    """The greatest total over every monotonic path, by trying them all."""
    frames, tokens = value.shape
    best = (-np.inf, [0])
    for steps in itertools.combinations(range(1, frames), tokens - 1):
        path = [sum(frame >= step for step in steps) for frame in range(frames)]
        total = float(sum(value[frame, token] for frame, token in enumerate(path)))
        best = max(best, (total, path), key=lambda found: found[0])
    return best


@pytest.mark.parametrize(("frames", "tokens"), [(1, 1), (5, 1), (4, 4), (8, 3), (9, 5)])
def test_alignment_is_the_best_of_all_paths(frames: int, tokens: int) -> None:
    rng = np.random.default_rng(frames)
    value = np.full((3, 11, 6), 50.0, np.float32)  # tempting padding
    value[:, :frames, :tokens] = rng.normal(size=(3, frames, tokens)) * 3
    found = monotonic_tokens(value, np.full(3, frames), np.full(3, tokens))
    for item in range(3):
        total, path = best_path(value[item, :frames, :tokens])
        assert value[item, np.arange(frames), found[item, :frames]].sum() == pytest.approx(total, abs=1e-4), path
        assert found[item, :frames].tolist() == path
        assert not found[item, frames:].any()


def test_alignment_of_items_does_not_depend_on_the_batch() -> None:
    rng = np.random.default_rng(0)
    value = rng.normal(size=(4, 30, 12)).astype(np.float32)
    frames, tokens = np.array([30, 12, 20, 25]), np.array([12, 12, 3, 1])
    together = monotonic_tokens(value, frames, tokens)
    for item, (t, x) in enumerate(zip(frames, tokens, strict=True)):
        alone = monotonic_tokens(value[item : item + 1, :t, :x], frames[item : item + 1], tokens[item : item + 1])
        assert together[item, :t].tolist() == alone[0].tolist()


def test_alignment_of_ties_stays_and_of_nan_still_covers_every_token() -> None:
    path = monotonic_tokens(np.zeros((1, 5, 3), np.float32), np.array([5]), np.array([3]))
    assert path.tolist() == [[0, 1, 2, 2, 2]]  # backwards from the end it stays as long as it may
    path = monotonic_tokens(np.full((1, 5, 3), np.nan, np.float32), np.array([5]), np.array([3]))
    assert sorted(set(path[0].tolist())) == [0, 1, 2]


@pytest.mark.parametrize(("frames", "tokens"), [(2, 3), (3, 0)])
def test_alignment_that_cannot_be_is_refused(frames: int, tokens: int) -> None:
    with pytest.raises(ValueError, match="at least as many frames"):
        monotonic_tokens(np.zeros((1, 4, 4), np.float32), np.array([frames]), np.array([tokens]))


def test_log_likelihoods_are_those_of_normal_distributions() -> None:
    z, m, logs = torch.randn(2, 3, 5), torch.randn(2, 3, 4), torch.randn(2, 3, 4) * 0.3
    normal = torch.distributions.Normal(m.unsqueeze(2), logs.exp().unsqueeze(2))
    expected = normal.log_prob(z.unsqueeze(3)).sum(1)
    torch.testing.assert_close(log_likelihoods(z, m, logs), expected, rtol=1e-4, atol=1e-4)


def test_tokens_are_stretched_and_slices_taken() -> None:
    index, mask = token_of_frame(torch.tensor([[2, 0, 3], [1, 1, 0]]), 6)
    assert index.tolist() == [[0, 0, 2, 2, 2, 2], [0, 1, 2, 2, 2, 2]]
    assert mask[:, 0].tolist() == [[1, 1, 1, 1, 1, 0], [1, 1, 0, 0, 0, 0]]
    x = torch.arange(6.0).reshape(2, 1, 3)
    assert stretch(x, index, mask)[:, 0].tolist() == [[0, 0, 2, 2, 2, 0], [3, 4, 0, 0, 0, 0]]
    assert take_slices(x, torch.tensor([1, 0]), 2)[:, 0].tolist() == [[1, 2], [3, 4]]
    assert is_padded(mask)
    assert not is_padded(mask[:, :, :2])


def test_noise_is_repeatable_and_given_noise_must_fit() -> None:
    first, second = (generator_noise(torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first((2, 3)), second((2, 3)))
    assert not torch.equal(first((2, 3)), torch.zeros(2, 3))
    given = given_noise(torch.ones(1, 2))
    with pytest.raises(ValueError, match=r"\(1, 3\) is wanted, the next one given is \(1, 2\)"):
        given((1, 3))
    assert given((1, 2)).tolist() == [[1, 1]]
    with pytest.raises(ValueError, match="none is left"):
        given((1, 2))
