"""HierSpeech++'s synthesizer, its blocks, SpeechSR and the discriminators."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.conformance import Case, run_case
from bench.detfill import fill_module
from bench.nets.weight_norm import fold_weight_norm
from bench.systems.hierspeech import alias_free_cpu
from bench.systems.hierspeech.adapters_synth import OPS
from bench.systems.hierspeech.alias_free import Activation1d, DownSample1d, UpSample1d, kaiser_sinc
from bench.systems.hierspeech.amp_block import AmpBlock, amp_reach
from bench.systems.hierspeech.discriminators import (
    RESOLUTIONS_48K,
    ComplexStft,
    MultiDiscriminator,
    PeriodDiscriminator,
    StftDiscriminator,
)
from bench.systems.hierspeech.generator import Generator, GeneratorConfig, IstftHead
from bench.systems.hierspeech.sequence import generator_noise, given_noise
from bench.systems.hierspeech.source import DBlock
from bench.systems.hierspeech.speechsr import SpeechSr, SpeechSrConfig
from bench.systems.hierspeech.synthesizer import Synthesizer, SynthesizerConfig, blend, for_speaking

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "hierspeech"
SHARED = ROOT / ".." / "shared"
CASES = {
    "synth_posterior": "synth_posterior",
    "synth_infer": "synth_infer",
    "source_network": "source_network",
    "generator": "generator",
    "alias_free": "alias_free",
    "amp_block_k3": "amp_block",
    "amp_block_k7": "amp_block",
    "amp_block_k11": "amp_block",
    "dblock": "dblock",
    "resblock1": "resblock1",
    "speechsr24k_tiny": "speechsr",
    "speechsr48k_tiny": "speechsr",
    "disc_period": "disc_period",
    "disc_stft": "disc_stft",
}
#: The full inference path in small; every part has every kind of layer.
TINY = SynthesizerConfig(
    inter_channels=8,
    hidden_channels=8,
    filter_channels=16,
    resblock_kernel_sizes=(3, 7),
    resblock_dilation_sizes=((1, 3, 5), (1, 3, 5)),
    upsample_initial_channel=32,
    gin_channels=12,
    feature_channels=16,
    spec_channels=9,
    semantic_layers=2,
    acoustic_layers=2,
    flow_couplings=2,
    flow_blocks=1,
    style_hidden=8,
)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def filled(module: torch.nn.Module, gain: float = 0.25) -> torch.nn.Module:
    fill_module(module, gain, tuple(name for name in module.state_dict() if name.endswith(".filter")))
    return module.eval()


def same(got: torch.Tensor, expected: torch.Tensor) -> None:
    """Equal up to rounding, which many layers amplify."""
    assert got.shape == expected.shape
    assert expected.std() > 1e-3
    assert (got - expected).abs().max() < 1e-4 * expected.abs().max()


@pytest.mark.parametrize("name", CASES)
def test_goldens(name: str) -> None:
    result = run_case(Case("hierspeech", name, CASES[name], GOLDEN / f"{name}.safetensors"), OPS[CASES[name]])
    assert result.passed, result.detail


@pytest.mark.parametrize("rate", [24, 48])
def test_official_speechsr(rate: int) -> None:
    path = SHARED / "golden" / "hierspeech" / f"speechsr{rate}k_real.safetensors"
    if not path.exists() or not (SHARED / "weights" / f"speechsr{rate}k.safetensors").exists():
        pytest.skip(f"../shared with {path.name} and the weights of SpeechSR is not beside this checkout")
    result = run_case(Case("hierspeech", path.stem, "speechsr", path), OPS["speechsr"])
    assert result.passed, result.detail


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("hier_synthesizer", lambda: Synthesizer(SynthesizerConfig())),
        ("hier_speechsr24k", lambda: SpeechSr(SpeechSrConfig(), 24000)),
        ("hier_speechsr48k", lambda: SpeechSr(SpeechSrConfig(), 48000)),
    ],
)
def test_names_and_shapes_are_the_official_ones(name, module) -> None:
    manifest = json.loads((ROOT / "bench" / "manifests" / f"{name}.json").read_text())["tensors"]
    with torch.device("meta"):
        state = module().state_dict()
    assert {key: tuple(entry["shape"]) for key, entry in manifest.items()} == {
        key: tuple(tensor.shape) for key, tensor in state.items()
    }


# --- alias-free activation ---------------------------------------------------------------------------------------


def by_convolutions(module: Activation1d, x: torch.Tensor) -> torch.Tensor:
    return module.downsample(module.act(module.upsample(x)))


def lively(channels: int) -> Activation1d:
    module = Activation1d(channels)
    module.act.load_state_dict({"alpha": noise(channels, seed=1) * 0.7, "beta": noise(channels, seed=2) * 0.7})
    return module.eval()


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 11, 1023, 1024, 1025, 1026, 1027, 2051])
def test_the_kernel_equals_the_convolutions(length: int) -> None:
    module, x = lively(5), 4 * noise(2, 5, length)
    with torch.no_grad():
        torch.testing.assert_close(module(x), by_convolutions(module, x), rtol=1e-5, atol=2e-5)


def test_the_kernel_at_large_angles_strides_and_with_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    module = lively(6)
    x = 300 * noise(2, 40, 6).transpose(1, 2)  # not contiguous
    monkeypatch.setattr(alias_free_cpu, "_WORTH_A_THREAD", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    with torch.no_grad():
        exact = by_convolutions(module.double(), x.double())
        got = module.float()(x)
        assert alias_free_cpu.serves(x)
    assert (got.double() - exact).abs().max() < 1e-3  # rounding of the angles, 1000 rad


def test_the_kernel_passes_nan_on_and_takes_nothing() -> None:
    module, x = lively(2), noise(1, 2, 100)
    x[0, 1, 50] = math.nan
    with torch.no_grad():
        y = module(x)
        assert module(x[:, :, :0]).shape == (1, 2, 0)
    assert not y[0, 0].isnan().any()
    assert y[0, 1].isnan().nonzero().flatten().tolist() == list(range(45, 56))


def test_training_goes_through_the_convolutions() -> None:
    module, x = lively(3), noise(1, 3, 20)
    assert not alias_free_cpu.serves(x)
    module(x).square().sum().backward()
    assert module.act.alpha.grad is not None
    assert module.act.alpha.grad.abs().min() > 0


def test_samplers_by_the_definition() -> None:
    taps, x = kaiser_sinc().flatten().double().numpy(), noise(1, 1, 30).double()
    padded = np.pad(x.flatten().numpy(), 12, mode="edge")
    stuffed = np.zeros(2 * len(padded))
    stuffed[::2] = 2 * padded
    up = np.convolve(stuffed, taps)[24 + 5 : 24 + 5 + 60]  # half a sample of delay at the doubled rate remains
    np.testing.assert_allclose(UpSample1d().double()(x).flatten().numpy(), up, atol=1e-7)
    edge = np.pad(x.flatten().numpy(), (5, 6), mode="edge")
    down = [edge[2 * i : 2 * i + 12] @ taps for i in range(15)]
    np.testing.assert_allclose(DownSample1d().double()(x).flatten().numpy(), down, atol=1e-7)


def test_the_filter_keeps_a_folded_tone_away() -> None:
    """sin² of a tone at 0.2 fs has a part at 0.4 fs, which stays; at 0.3 fs, parts at 0.6 and 1.2 fs, which fold."""

    def level(alias_free: bool, tone: float, at: float) -> float:
        x = torch.sin(2 * math.pi * tone * torch.arange(2000.0)).reshape(1, 1, -1)
        with torch.no_grad():
            y = Activation1d(1, alias_free)(x).flatten()[200:1800]
        return float(torch.fft.rfft(y * torch.hann_window(1600)).abs()[round(at * 1600)])

    assert level(True, 0.2, 0.4) > 0.7 * level(False, 0.2, 0.4)
    assert level(True, 0.3, 0.4) < 0.3 * level(False, 0.3, 0.4)
    assert level(True, 0.3, 0.2) < 0.2 * level(False, 0.3, 0.2)


# --- blocks ------------------------------------------------------------------------------------------------------


def test_amp_reach_is_what_the_block_reads() -> None:
    sizes = ((3, 7), ((1, 3, 5), (1, 2, 3)))
    reach, x = amp_reach(*sizes), noise(1, 4, 401).requires_grad_()
    total = sum(filled(AmpBlock(4, kernel, steps), 2.0)(x) for kernel, steps in zip(*sizes, strict=True))
    total[0, :, 200].sum().backward()
    read = x.grad.abs().sum((0, 1)).nonzero().flatten()
    assert max(200 - int(read.min()), int(read.max()) - 200) == reach


@pytest.mark.parametrize(("length", "factor"), [(24, 4), (27, 4), (9, 3), (4, 4)])
def test_dblock_lengths(length: int, factor: int) -> None:
    assert DBlock(3, 6, factor)(noise(1, 3, length)).shape == (1, 6, length // factor)


@pytest.mark.parametrize(
    "wrong",
    [{"upsample_rates": (4, 5, 4, 2, 1)}, {"upsample_rates": (5, 4, 4, 2, 2)}, {"head": "istft"}],
)
def test_rates_that_make_no_waveform_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match="up-sampling"):
        Generator(GeneratorConfig(**wrong))


@pytest.mark.parametrize("head", ["wave", "istft"])
def test_chunks_joined_are_the_whole(head: str) -> None:
    one_stage = {"upsample_rates": (4,), "upsample_kernel_sizes": (8,)} if head == "istft" else {}
    config = GeneratorConfig(
        initial_channel=6,
        resblock_kernel_sizes=(3,),
        resblock_dilation_sizes=((1, 3, 5),),
        upsample_initial_channel=32,
        gin_channels=5,
        head=head,
        **one_stage,
    )
    generator = filled(Generator(config))
    z, source, g = noise(2, 6, 100), noise(2, 4, 400), noise(2, 5, 1)
    with torch.no_grad():
        whole = generator(z, source, g)
        pieces = list(generator.in_chunks(z, source, g, frames=30))
        far = z.clone()
        far[..., 60 + config.reach() :] += 1
        changed = (generator(far, source, g) - whole).abs().amax((0, 1)).nonzero()
    assert [piece.shape[-1] for piece in pieces] == [9600, 9600, 9600, 3200]
    same(torch.cat(pieces, -1), whole)
    assert int(changed.min()) >= 60 * 320


def test_the_istft_head_inverts_a_spectrum() -> None:
    audio = noise(1, 80 * 50) * 0.1
    spectrum = torch.stft(audio, 320, 80, window=torch.hann_window(320), return_complex=True)[..., :50]
    head = IstftHead(1)
    head.conv = torch.nn.Identity()
    parts = torch.cat([spectrum.abs().clamp(min=1e-9).log(), spectrum.angle()], dim=1)
    wave = head(parts)
    assert wave.shape == (1, 1, 4000)
    torch.testing.assert_close(wave[0, :, :3800], audio[:, :3800], rtol=1e-4, atol=1e-5)


# --- synthesizer -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def synthesizer() -> Synthesizer:
    return filled(Synthesizer(TINY))


def inputs(frames: int, batch: int = 1) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return noise(batch, 16, frames, seed=3), noise(batch, 1, 4 * frames, seed=4).abs(), noise(batch, 12, 1, seed=5)


def test_an_item_of_a_batch_sounds_as_alone(synthesizer: Synthesizer) -> None:
    features, f0, g = inputs(21, batch=3)
    lengths, eps = torch.tensor([21, 7, 12]), noise(3, 8, 21)
    waves = synthesizer.speak(features, f0, lengths, g, given_noise(eps))
    for i, n in enumerate(lengths.tolist()):
        (alone,) = synthesizer.speak(
            features[i : i + 1, :, :n],
            f0[i : i + 1, :, : 4 * n],
            lengths[i : i + 1],
            g[i : i + 1],
            given_noise(eps[i : i + 1, :, :n]),
        )
        assert waves[i].shape == (320 * n,)
        same(waves[i], alone)


def test_a_stream_is_the_same_speech(synthesizer: Synthesizer) -> None:
    features, f0, g = inputs(120)
    seeded = [generator_noise(torch.Generator().manual_seed(7)) for _ in range(3)]
    (whole,) = synthesizer.speak(features, f0, torch.tensor([120]), g, seeded[0])
    pieces = list(synthesizer.stream(features, f0, g, seeded[1], frames=50))
    same(torch.cat(pieces), whole)
    (other,) = synthesizer.speak(features, f0, torch.tensor([120]), g, seeded[2], noise_scale=1.0)
    assert (other - whole).abs().max() > 1e-3


def test_folding_changes_nothing_and_speaking_needs_no_training_parts(synthesizer: Synthesizer) -> None:
    small = Synthesizer(TINY, training_parts=False).eval()
    small.load_state_dict(for_speaking(synthesizer.state_dict()))
    features, f0, g = inputs(9)
    eps, lengths = noise(1, 8, 9), torch.tensor([9])
    (before,) = synthesizer.speak(features, f0, lengths, g, given_noise(eps))
    fold_weight_norm(small)
    assert not any("weight_g" in name for name in small.state_dict())
    (after,) = small.speak(features, f0, lengths, g, given_noise(eps))
    same(after, before)
    with pytest.raises(ValueError, match="no null style"):
        small.null_style(1)


def test_styles(synthesizer: Synthesizer) -> None:
    mels, mask = noise(2, 80, 30), torch.ones(2, 1, 30)
    mask[1, :, 20:] = 0
    rows = synthesizer.style(mels, mask)
    torch.testing.assert_close(rows[1:], synthesizer.style(mels[1:, :, :20]), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(blend(rows, 0.0), rows[:1])
    torch.testing.assert_close(blend(rows, 1.0), rows[1:])
    torch.testing.assert_close(
        synthesizer.null_style(3)[2, :, 0], synthesizer.emb.weight[0] * math.sqrt(TINY.gin_channels)
    )
    with pytest.raises(ValueError, match="not 1 styles"):
        blend(rows[:1], 0.5)


@pytest.mark.parametrize("head", ["wave", "istft"])
def test_the_inference_path_learns(head: str) -> None:
    """The tiny configurations train it from end to end: every parameter gets a gradient."""
    torch.manual_seed(0)
    stages = {"upsample_rates": (4,), "upsample_kernel_sizes": (8,)} if head == "istft" else {}
    sizes = {name: getattr(TINY, name) for name in TINY.__slots__} | {"alias_free": False, "head": head} | stages
    network = Synthesizer(
        SynthesizerConfig(
            **sizes,
        ),
        training_parts=False,
    )
    fill_module(network)
    assert not any(name.endswith(".filter") for name in network.state_dict())
    features, f0, _ = inputs(8, batch=2)
    mask = torch.ones(2, 1, 8)
    g = network.style(noise(2, 80, 12))
    wave, log_f0 = network.decode(network.latent(features, f0, mask, g, given_noise(noise(2, 8, 8))), g)
    assert wave.shape == (2, 1, 2560)
    assert log_f0.shape == f0.shape
    (wave.square().mean() + (log_f0 - f0).abs().mean()).backward()
    assert [name for name, value in network.named_parameters() if value.grad is None] == []


# --- SpeechSR ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [24000, 48000])
@pytest.mark.parametrize("length", [1, 7, 1001])
def test_blocks_of_speechsr_are_the_whole(rate: int, length: int) -> None:
    network, x = filled(SpeechSr(SpeechSrConfig(upsample_initial_channel=4), rate), 1.0), noise(2, 1, length)
    with torch.no_grad():
        whole = network(x)
        assert whole.shape == (2, 1, length * rate // 16000)
        torch.testing.assert_close(network.dec.in_blocks(x, block=300), whole, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(network.enhance(x), whole, rtol=1e-4, atol=1e-6)
    assert whole.abs().max() <= 1


def test_speechsr_knows_two_rates() -> None:
    with pytest.raises(ValueError, match="32000"):
        SpeechSr(SpeechSrConfig(), 32000)


# --- discriminators ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [300, 301, 302])
def test_period_discriminator_folds(length: int) -> None:
    logits, maps = PeriodDiscriminator(3)(noise(2, 1, length))
    assert [fmap.shape[1] for fmap in maps] == [32, 128, 512, 1024, 1024, 1]
    assert all(fmap.shape[-1] == 3 for fmap in maps)
    torch.testing.assert_close(logits, maps[-1].flatten(1))


def test_complex_stft_by_the_definition() -> None:
    x = noise(1, 1, 500).double()
    got = ComplexStft(128, 32, 128).double()(x)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(128) / 128)
    frames = np.stack([x.flatten().numpy()[i * 32 : i * 32 + 128] * window for i in range(12)])
    expected = np.fft.rfft(frames).T / np.sqrt((window**2).sum())
    assert got.shape == (1, 1, 65, 12)
    np.testing.assert_allclose(got[0, 0].numpy(), expected, atol=1e-6)


def test_all_discriminators_together() -> None:
    network = MultiDiscriminator(RESOLUTIONS_48K[-2:], (2, 3))
    kinds = [type(each) for each in network.discriminators]
    assert kinds == [StftDiscriminator, StftDiscriminator, PeriodDiscriminator, PeriodDiscriminator]
    judgements = network(noise(2, 1, 640))
    sum(logits.square().mean() for logits, _ in judgements).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert "discriminators.0.spec_transform.window" in network.state_dict()
