"""WhisperX-VAE: recorded numbers, published names, both branches, bad input; a narrow one learns."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from bench.conformance import Case, run_case
from bench.detfill import fill_module
from bench.errors import UsageError
from bench.media import log_mel
from bench.media.resample import sinc
from bench.nets.weight_norm import fold_weight_norm
from bench.systems.talker.adapters_audio import OPS
from bench.systems.talker.resample import resample
from bench.systems.talker.whisper_encoder import WhisperDims, WhisperEncoder
from bench.systems.talker.whisper_mel import WhisperMelConfig, filters, whisper_mel
from bench.systems.talker.whisperx_vae import VAEConfig, WhisperXVAE, official_shapes

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "talker"
MANIFEST = ROOT / "bench" / "manifests" / "talker_whisperx_vae.json"
DIMS = WhisperDims(8, 24, 16, 2, 2, 11, 4, 16, 2, 1)
SIZES = VAEConfig(2, (2, 4, 10, 12), 16, 32, (12, 10, 4, 2), 4, whisper=DIMS)
CASES = (
    "snake_units",
    "vae_encoder_block",
    "vae_encoder_block_odd",
    "vae_decoder_block",
    "vae_decoder_block_odd",
    "whisperx_vae_tiny",
    pytest.param("whisperx_vae_decoder_full", marks=pytest.mark.slow),
    "whisper_mel",
    "resample_16k_24k",
    "resample_24k_16k",
    "resample_44k_24k",
)


def vae(config: VAEConfig = SIZES) -> WhisperXVAE:
    made = WhisperXVAE(config)
    fill_module(made, gain=0.5, keep=("semantic_model.encoder.positional_embedding",))
    return made.eval()


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 0.1


@pytest.mark.parametrize("name", CASES)
def test_goldens(name: str) -> None:
    path = GOLDEN / f"{name}.safetensors"
    with safe_open(path, "np") as file:
        op = file.metadata()["op"]
    result = run_case(Case("talker", name, op, path), OPS[op])
    assert result.passed, result.detail


def test_the_full_network_has_the_published_names_and_shapes() -> None:
    published = {name: tuple(spec["shape"]) for name, spec in json.loads(MANIFEST.read_text())["tensors"].items()}
    with torch.device("meta"):
        network = WhisperXVAE()
    assert official_shapes(network) == published
    assert network.hop == 960


def official_state(network: WhisperXVAE) -> dict[str, torch.Tensor]:
    """A file of the small network as it would be published, text decoder included."""
    own = network.state_dict()
    return {name: own.get(name, torch.zeros(shape)) for name, shape in official_shapes(network).items()}


def test_a_published_file_loads_strictly_and_its_text_decoder_is_dropped() -> None:
    network, state = vae(), official_state(vae())
    with torch.device("meta"):
        bare = WhisperXVAE(SIZES)
    bare.load_state_dict(state, strict=True, assign=True)
    assert not any("decoder" in name for name in bare.state_dict() if name.startswith("semantic_model"))
    wave, mel = noise(1, 3000), noise(1, 1, 8, 48)
    with torch.inference_mode():
        torch.testing.assert_close(bare.encode(wave, mel), network.encode(wave, mel))


def _wrong(state: dict[str, torch.Tensor], kind: str) -> None:
    name = "semantic_model.decoder.blocks.0.cross_attn.key.weight"
    if kind == "absent":
        del state[name]
    elif kind == "shape":
        state[name] = torch.zeros(3, 3)
    elif kind == "besides":
        state["semantic_model.decoder.blocks.9.mlp.0.bias"] = torch.zeros(1)
    else:
        del state["semantic_model.encoder.ln_post.bias"]


@pytest.mark.parametrize("kind", ["absent", "shape", "besides", "encoder"])
def test_a_file_that_does_not_fit_is_refused(kind: str) -> None:
    network, state = vae(), official_state(vae())
    _wrong(state, kind)
    with pytest.raises(RuntimeError, match="semantic_model"):
        network.load_state_dict(state, strict=True)


def test_a_state_saved_here_loads_again() -> None:
    network = vae()
    vae().load_state_dict(network.state_dict(), strict=True)


def test_encode_takes_both_shapes_and_layouts() -> None:
    network, wave, mel = vae(), noise(2, 7040), noise(2, 1, 8, 48)
    with torch.inference_mode():
        latent = network.encode(wave, mel)
        assert latent.shape == (2, 7, 4)
        torch.testing.assert_close(network.encode(wave[:, None], mel, "bct"), latent.transpose(1, 2))
        torch.testing.assert_close(network.encode(wave[1:], mel[1:]), latent[1:], rtol=1e-3, atol=1e-3)
        sound = network.decode(latent)
        assert sound.shape == (2, 1, 7 * 960)
        torch.testing.assert_close(network.decode(latent.transpose(1, 2), "bct"), sound)


def test_each_branch_alone() -> None:
    wave, mel = noise(1, 2000), noise(1, 1, 8, 48)
    acoustic = vae(VAEConfig(2, (2, 4, 10, 12), 16, 32, (12, 10, 4, 2), 4, whisper=None))
    semantic = vae(VAEConfig(0, (), 16, 32, (12, 10, 4, 2), 4, whisper=DIMS))
    assert not hasattr(semantic, "CodecEnc")
    with torch.inference_mode():
        assert acoustic.encode(wave).shape == semantic.encode(wave, mel).shape == (1, 2, 4)


def test_what_cannot_be_encoded_is_told() -> None:
    network = vae()
    with pytest.raises(UsageError, match="log-mel"):
        network.encode(noise(1, 1920))
    with pytest.raises(UsageError, match="longer than Whisper's 12"):
        network.encode(noise(1, 13 * 960), noise(1, 1, 8, 48))
    with pytest.raises(UsageError, match="48 frames"):
        network.encode(noise(1, 1920), noise(1, 1, 8, 46))
    with pytest.raises(UsageError, match="hears nothing"):
        VAEConfig(in_dim=0, whisper=None)
    with pytest.raises(UsageError, match="width"):
        VAEConfig(hidden_dim=12, whisper=DIMS)


def test_folded_convolutions_sound_the_same() -> None:
    network = vae(VAEConfig(2, (2, 3), 16, 32, (3, 2), 4, whisper=None))
    latent = noise(1, 5, 4)
    with torch.inference_mode():
        before = network.decode(latent)
        assert before.shape == (1, 1, 30)
        torch.testing.assert_close(fold_weight_norm(network).decode(latent), before)


def test_the_encoder_equals_the_packages() -> None:
    whisper = pytest.importorskip("whisper.model", reason="openai-whisper is not installed")
    own = fill_module(WhisperEncoder(DIMS), keep=("positional_embedding",)).eval()
    theirs = whisper.AudioEncoder(8, 24, 16, 2, 2).eval()
    theirs.load_state_dict(own.state_dict())
    mel = noise(2, 8, 48)
    with torch.inference_mode():
        torch.testing.assert_close(own(mel), theirs(mel), rtol=1e-4, atol=1e-5)


def test_whispers_mel_equals_the_packages() -> None:
    audio = pytest.importorskip("whisper.audio", reason="openai-whisper is not installed")
    wave = noise(20_000)
    expected = audio.log_mel_spectrogram(audio.pad_or_trim(wave), n_mels=128)
    np.testing.assert_allclose(whisper_mel(wave).numpy(), expected.numpy(), atol=2e-5)
    bank = audio.mel_filters("cpu", 80)
    np.testing.assert_allclose(filters(WhisperMelConfig(n_mels=80)).numpy(), bank.numpy(), atol=1e-7)


def test_a_clips_mel_does_not_depend_on_its_batch() -> None:
    config = WhisperMelConfig(n_mels=8, n_samples=8000)
    quiet, loud = noise(8000) * 0.01, noise(8000, seed=1)
    alone = whisper_mel(quiet, config)
    torch.testing.assert_close(whisper_mel(torch.stack([quiet, loud]), config)[0], alone)
    assert whisper_mel(noise(2, 9000), config).shape == (2, 8, 50)


@pytest.mark.parametrize("rates", [(16_000, 24_000), (48_000, 16_000), (44_100, 24_000)])
def test_resampling_is_nearly_that_of_the_harness(rates: tuple[int, int]) -> None:
    wave = noise(2, 3001)
    got = resample(wave, *rates)
    assert got.shape == (2, -(-3001 * rates[1] // rates[0]))
    np.testing.assert_allclose(got.numpy(), sinc(wave.numpy(), *rates), atol=1e-5)


def test_resampling_of_equal_and_of_impossible_rates() -> None:
    wave = noise(1, 50)
    assert resample(wave, 16_000, 16_000) is wave
    with pytest.raises(UsageError, match="positive"):
        resample(wave, 0, 16_000)


def test_a_narrow_network_learns() -> None:
    torch.manual_seed(0)
    network = WhisperXVAE(VAEConfig(4, (2, 4, 4), 16, 32, (4, 4, 2), 4, whisper=None))
    time = torch.arange(3200) / 16_000
    wave = 0.5 * torch.sin(2 * torch.pi * torch.tensor([[220.0], [330.0], [500.0], [740.0]]) * time)
    wanted, adam, errors = log_mel.log_mel(wave), torch.optim.Adam(network.parameters(), 3e-3), []
    for _ in range(25):
        made = network.decode(network.encode(wave))[:, 0]
        error = (log_mel.log_mel(made) - wanted).abs().mean()
        adam.zero_grad()
        error.backward()
        adam.step()
        errors.append(float(error.detach()))
    assert errors[-1] < 0.7 * errors[0]


def test_the_table_of_operations_is_light() -> None:
    code = "import sys, bench.systems.talker.adapters_audio; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
