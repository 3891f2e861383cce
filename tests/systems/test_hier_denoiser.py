"""The denoiser of prompts: official names, recorded numbers, the attention's axis, silence and lengths."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from bench.conformance import Case, run_case
from bench.detfill import fill_module
from bench.errors import DataError
from bench.systems.hierspeech.adapters_front import OPS
from bench.systems.hierspeech.conformer import Conformer, SelfAttention
from bench.systems.hierspeech.denoiser import WEIGHTS, Denoiser, DenoiserConfig
from bench.weights_check import manifest_of

ROOT = Path(__file__).parents[2]
SMALL = DenoiserConfig(dense_channel=8, num_tsconformers=1)


def test_golden_conformer() -> None:
    path = ROOT / "tests" / "golden" / "hierspeech" / "conformer.safetensors"
    result = run_case(Case("hierspeech", "conformer", "conformer", path), OPS["conformer"])
    assert result.passed, result.detail


def test_golden_network() -> None:
    path = ROOT / ".." / "shared" / "golden" / "hierspeech" / "denoiser_tiny.safetensors"
    if not path.exists():
        pytest.skip("../shared with denoiser_tiny.safetensors (a recording of others) is not beside this checkout")
    result = run_case(Case("hierspeech", "denoiser_tiny", "denoiser_tiny", path), OPS["denoiser_tiny"])
    assert result.passed, result.detail


def test_names_and_shapes_are_the_official_ones() -> None:
    with torch.device("meta"):
        state = Denoiser().state_dict()
    wanted = manifest_of(WEIGHTS).tensors
    assert {name: (tuple(t.shape), str(t.dtype)[6:]) for name, t in state.items()} == {
        name: (tuple(spec.shape), spec.dtype) for name, spec in wanted.items()
    }


def small() -> Denoiser:
    return fill_module(Denoiser(SMALL)).eval()


def noise(samples: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(1, samples, generator=torch.Generator().manual_seed(seed))


def test_attention_runs_over_the_first_axis() -> None:
    layer = fill_module(SelfAttention(8, 2)).eval()
    x = torch.randn(5, 3, 8, generator=torch.Generator().manual_seed(1))
    n = layer.layernorm(x)
    q, k, v = (n @ layer.attn.in_proj_weight.T + layer.attn.in_proj_bias).chunk(3, dim=-1)
    out = torch.empty_like(x)
    for item in range(3):
        for head in (slice(0, 4), slice(4, 8)):
            scores = q[:, item, head] @ k[:, item, head].T / math.sqrt(4)
            out[:, item, head] = scores.softmax(-1) @ v[:, item, head]
    with torch.inference_mode():
        torch.testing.assert_close(layer(x), layer.attn.out_proj(out), rtol=1e-4, atol=1e-6)


def test_conformer_of_other_sizes_can_be_trained() -> None:
    block = Conformer(12, heads=3, ccm_kernel=7, dropout=0.0)
    x = torch.randn(4, 10, 12, requires_grad=True)
    block(x).square().mean().backward()
    assert x.grad is not None
    assert all(p.grad is not None and p.grad.isfinite().all() for p in block.parameters())


@pytest.mark.parametrize("samples", [1600, 3200])
def test_denoised_audio_has_the_same_length_and_scales_with_its_input(samples: int) -> None:
    network, audio = small(), noise(samples)
    got = network.denoise(audio)
    assert got.shape == audio.shape
    assert got.isfinite().all()
    # a power of two changes no rounding, so that not even the phases at the edges flip
    torch.testing.assert_close(network.denoise(audio * 0.25), got * 0.25)


def test_silence_is_kept() -> None:
    assert not small().denoise(torch.zeros(1, 1600)).any()


def test_analysis_and_synthesis_are_inverse() -> None:
    network, audio = small(), noise(4000)
    magnitude, phase = network.analyse(audio)
    assert magnitude.shape == phase.shape == (1, 201, 41)
    torch.testing.assert_close(network.synthesise(magnitude, phase), audio, rtol=1e-4, atol=1e-5)


def test_batches_are_refused() -> None:
    with pytest.raises(DataError, match="one clip at a time"):
        small()(torch.zeros(2, 201, 5), torch.zeros(2, 201, 5))


def test_mask_lies_between_zero_and_beta() -> None:
    network = small()
    magnitude, phase = network.analyse(noise(2000))
    with torch.inference_mode():
        got, angle = network(magnitude, phase)
    assert ((got >= 0) & (got <= 2 * magnitude + 1e-6)).all()
    assert (angle.abs() <= math.pi + 1e-6).all()
