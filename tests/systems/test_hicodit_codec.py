"""The codecs of HiCoDiT: recorded numbers, published names, one interface, pieces, bad input, loudness."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn

from bench.conformance import Case, run_case
from bench.detfill import fill_module
from bench.errors import UsageError
from bench.media import log_mel
from bench.nets.weight_norm import WNConv1d, WNConvTranspose1d
from bench.systems.hicodit.adapters_codec import OPS
from bench.systems.hicodit.codec import Codec
from bench.systems.hicodit.codec.chunks import Pieces
from bench.systems.hicodit.codec.dac import Dac, DacCodec, DacSizes
from bench.systems.hicodit.codec.loudness import levelled, loudness
from bench.systems.hicodit.codec.maskgct import DecoderSizes, EncoderSizes, MaskgctCodec, MaskgctDecoder, MaskgctEncoder
from bench.systems.hicodit.codec.mel_rvq import MelRvq, MelRvqCodec, MelRvqSizes
from bench.systems.hicodit.codec.rvq import RvqSizes
from bench.systems.hicodit.codec.vocos import VocosSizes

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "hicodit"
SMALL_DAC = DacSizes(4, (2, 4, 5), 32, (5, 4, 2), 3, 64, 8)
SMALL_VOCOS = DecoderSizes(RvqSizes(16, 3, 64, 8, ("in_project", "out_project")), VocosSizes(16, 24, 48, 2, 240, 60))
CASES = (
    "snake",
    "dac_rvq",
    "dac_tiny",
    pytest.param("dac16k_encode", marks=pytest.mark.slow),
    pytest.param("dac16k_decode", marks=pytest.mark.slow),
    "maskgct_tiny",
    "mel_rvq",
)


def small_dac(piece: int = 10_000) -> DacCodec:
    return DacCodec(fill_module(Dac(SMALL_DAC), 0.5), piece)


def small_maskgct(piece: int = 10_000) -> MaskgctCodec:
    decoder, encoder = MaskgctDecoder(SMALL_VOCOS), MaskgctEncoder(EncoderSizes(4, (3, 4, 5), 16))
    fill_module(decoder, 1.0, keep=("model.head.istft.window",))
    return MaskgctCodec(decoder, fill_module(encoder, 1.0), piece)


def small_mel(piece: int = 0) -> MelRvqCodec:
    network = MelRvq(MelRvqSizes(3, 16, mel=log_mel.LogMelConfig(rounds=2)))
    noise = torch.Generator().manual_seed(0)
    network.codebooks.data = torch.randn(network.codebooks.shape, generator=noise)
    network.mean.fill_(-5.0)
    return MelRvqCodec(network)


MAKERS = (small_dac, small_maskgct, small_mel)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 0.3


@pytest.mark.parametrize("name", CASES)
def test_goldens(name: str) -> None:
    path = GOLDEN / f"{name}.safetensors"
    with safe_open(path, "np") as file:
        op = file.metadata()["op"]
    result = run_case(Case("hicodit", name, op, path), OPS[op])
    assert result.passed, result.detail


@pytest.mark.parametrize(
    ("manifest", "make"),
    [
        ("dac_16k", Dac),
        ("maskgct_acoustic_codec_encoder", MaskgctEncoder),
        ("maskgct_acoustic_codec_decoder", MaskgctDecoder),
    ],
)
def test_the_full_networks_have_the_published_names_and_shapes(manifest: str, make: Callable[[], nn.Module]) -> None:
    told = json.loads((ROOT / "bench" / "manifests" / f"{manifest}.json").read_text())
    with torch.device("meta"):
        network = make()
    ours = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert ours == {name: tuple(one["shape"]) for name, one in told["tensors"].items()}


def test_the_settings_of_the_published_files_are_the_defaults() -> None:
    folder = ROOT / "bench" / "manifests"
    told = [json.loads((folder / f"{name}.json").read_text())["config"] for name in ("dac_16k", *_MASKGCT)]
    assert DacSizes.of_config(told[0]) == DacSizes()
    assert EncoderSizes.of_config(told[1]) == EncoderSizes()
    assert DecoderSizes.of_config(told[2]) == DecoderSizes()


_MASKGCT = ("maskgct_acoustic_codec_encoder", "maskgct_acoustic_codec_decoder")


def test_all_codecs_have_fifty_frames_a_second() -> None:
    assert DacSizes().hop == 16_000 / 50
    assert EncoderSizes().hop == VocosSizes().hop == 24_000 / 50
    assert MelRvqCodec(MelRvq()).frame_rate == 50


@pytest.mark.parametrize("make", MAKERS)
def test_lengths_and_batches(make: Callable[[], Codec]) -> None:
    codec = make()
    wave = noise(2, 3, 7 * codec.hop + 1)
    codes = codec.encode(wave)
    assert codes.dtype == torch.int64
    assert codes.shape == (2, 3, codec.levels, 8)
    assert torch.equal(codec.encode(wave[1, 2]), codes[1, 2])
    made = codec.decode(codes)
    assert made.shape == (2, 3, 8 * codec.hop)
    torch.testing.assert_close(codec.decode(codes[1, 2]), made[1, 2])
    assert made.std() > 1e-4


@pytest.mark.parametrize("make", MAKERS)
def test_one_sample_and_none(make: Callable[[], Codec]) -> None:
    codec = make()
    assert codec.encode(torch.zeros(1)).shape == (codec.levels, 1)
    assert codec.decode(codec.encode(torch.zeros(1))).shape == (codec.hop,)
    assert codec.encode(torch.zeros(2, 0)).shape == (2, codec.levels, 0)
    assert codec.decode(torch.zeros(2, codec.levels, 0, dtype=torch.int64)).shape == (2, 0)


@pytest.mark.parametrize("make", MAKERS)
def test_only_the_levels_that_are_asked_for_speak(make: Callable[[], Codec]) -> None:
    codec = make()
    codes = codec.encode(noise(9 * codec.hop))
    other = codes.clone()
    other[2] = (other[2] + 1) % codec.codebook_size
    assert torch.equal(codec.decode_levels(codes, 2), codec.decode_levels(other, 2))
    assert torch.equal(codec.decode_levels(codes[:2], 2), codec.decode_levels(codes, 2))
    assert not torch.equal(codec.decode(codes), codec.decode(other))
    assert torch.equal(codec.decode_levels(codes, codec.levels), codec.decode(codes))


@pytest.mark.parametrize("make", MAKERS)
def test_codes_that_are_none_are_refused(make: Callable[[], Codec]) -> None:
    codec = make()
    codes = torch.zeros(codec.levels, 4, dtype=torch.int64)
    with pytest.raises(UsageError, match="levels of codes"):
        codec.decode_levels(codes, codec.levels + 1)
    with pytest.raises(UsageError, match="levels of codes"):
        codec.decode(codes[:-1])
    codes[0, 0] = codec.codebook_size  # the mask
    with pytest.raises(UsageError, match=f"codes from 0 to {codec.codebook_size}"):
        codec.decode(codes)


@pytest.mark.parametrize("make", [small_dac, small_maskgct])
@pytest.mark.parametrize("frames", [60, 61, 97])
def test_pieces_have_the_numbers_of_the_whole(make: Callable[[int], Codec], frames: int) -> None:
    whole, pieces = make(10_000), make(8)
    wave = noise(2, frames * whole.hop - 3)
    codes = whole.encode(wave)
    assert torch.equal(pieces.encode(wave), codes)
    torch.testing.assert_close(pieces.decode(codes), whole.decode(codes), rtol=1e-4, atol=1e-5)


def test_pieces_really_cut() -> None:
    seen: list[int] = []

    def network(x: torch.Tensor) -> torch.Tensor:
        seen.append(x.shape[-1])
        return x

    x = noise(1, 100)
    assert torch.equal(Pieces(1, 1, 5, 20)(network, x), x)
    assert seen == [25, 30, 30, 30, 25]


def test_too_little_context_would_be_seen() -> None:
    codec = small_dac()
    values = codec.network.quantizer.values_of(codec.encode(noise(1, 80 * codec.hop)))
    with torch.inference_mode():
        narrow = Pieces(1, codec.hop, 1, 20)(codec.network.decoder, values)
        whole = codec.network.decoder(values)
    assert float((narrow - whole).abs().max()) > 1e-4


def test_weight_norm_is_folded_and_says_the_same() -> None:
    network = fill_module(Dac(SMALL_DAC), 0.5).eval()
    values = noise(1, SMALL_DAC.width, 9)
    with torch.inference_mode():
        plain = network.decoder(values)
        folded = DacCodec(network).network.decoder(values)
    assert plain.shape[-1] == 9 * SMALL_DAC.hop - 8  # the odd stride loses a sample, which two later strides widen
    torch.testing.assert_close(folded, plain, rtol=1e-4, atol=1e-5)
    assert not any(isinstance(module, WNConv1d | WNConvTranspose1d) for module in network.modules())


def test_hashes_tell_codecs_apart() -> None:
    hashes = [make().hash() for make in MAKERS]
    assert len(set(hashes)) == 3
    assert small_mel().hash() == hashes[2]
    other = small_mel()
    other.network.codebooks.data[1, 2, 3] += 1e-3
    assert other.hash() != hashes[2]


def test_maskgct_without_encoder_decodes() -> None:
    whole = small_maskgct()
    codes = whole.encode(noise(5 * whole.hop))
    alone = MaskgctCodec(fill_module(MaskgctDecoder(SMALL_VOCOS), 1.0, keep=("model.head.istft.window",)))
    torch.testing.assert_close(alone.decode(codes), whole.decode(codes))
    with pytest.raises(UsageError, match="no encoder"):
        alone.encode(noise(5 * whole.hop))


def test_parts_of_two_codecs_are_refused() -> None:
    with pytest.raises(UsageError, match="two codecs"):
        MaskgctCodec(MaskgctDecoder(SMALL_VOCOS), MaskgctEncoder(EncoderSizes(4, (3, 4), 16)))
    with pytest.raises(UsageError, match="other products"):
        DacSizes(encoder_rates=(2, 4))
    with pytest.raises(UsageError, match="another decoder"):
        DecoderSizes.of_config({"use_vocos": False})


def test_levels_of_each_sample() -> None:
    quantizer = fill_module(Dac(SMALL_DAC), 0.5).quantizer
    values = noise(2, SMALL_DAC.width, 5)
    with torch.inference_mode():
        mixed = quantizer(values, torch.tensor([1, 3]))
        torch.testing.assert_close(mixed.values[:1], quantizer(values[:1], 1).values)
        torch.testing.assert_close(mixed.values[1:], quantizer(values[1:]).values)
        losses = [quantizer(values[:1], 1).commitment, quantizer(values[1:]).commitment]
    torch.testing.assert_close(mixed.commitment, torch.stack(losses).mean())


def test_gradients_pass_the_lookup() -> None:
    quantizer = fill_module(Dac(SMALL_DAC), 0.5).quantizer
    values = noise(1, SMALL_DAC.width, 5).requires_grad_()
    found = quantizer(values)
    found.values.square().sum().backward()
    assert values.grad is not None
    assert float(values.grad.abs().sum()) > 0
    assert quantizer.level(0).codebook.weight.grad is None  # only the codebook's own loss moves it
    found = quantizer(values)
    found.codebook.backward()
    assert float(quantizer.level(0).codebook.weight.grad.abs().sum()) > 0


def test_loudness_of_a_tone() -> None:
    time = np.arange(32_000) / 16_000
    tone = (0.01 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)
    assert loudness(tone) == pytest.approx(-0.691 - 20 * 2 - 3.0103, abs=1e-3)
    loud = levelled(tone)
    assert loudness(loud) == pytest.approx(-16, abs=1e-3)
    assert loudness(levelled(loud)) == pytest.approx(-16, abs=1e-3)


def test_pauses_do_not_count() -> None:
    time = np.arange(32_000) / 16_000
    tone = (0.01 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)
    quiet = np.concatenate([tone, 0.01 * tone, np.zeros(32_000, np.float32)])
    assert loudness(quiet) == pytest.approx(loudness(tone), abs=0.6)


def test_peaks_bound_the_gain_and_silence_stays() -> None:
    clicks = np.zeros(16_000, np.float32)
    clicks[::1600] = 0.1
    assert float(np.abs(levelled(clicks)).max()) == pytest.approx(0.99, abs=1e-5)
    for silent in (np.zeros(16_000, np.float32), np.zeros(0, np.float32), np.full(100, 1e-5, np.float32)):
        np.testing.assert_array_equal(levelled(silent), silent)
    short = np.full(1000, 0.1, np.float32)
    assert loudness(short) == pytest.approx(-0.691 - 20)


def test_the_tiny_codec_refines_level_by_level() -> None:
    network = small_mel().network
    vectors = noise(40, network.sizes.width) - 5
    codes = network.codes_of(vectors)
    assert codes.shape == (3, 40)
    left = network.standardised(vectors)
    for level in range(3):
        distance = torch.cdist(left, network.codebooks[level])
        assert torch.equal(distance.argmin(1), codes[level])
        left = left - network.codebooks[level][codes[level]]
    torch.testing.assert_close(network.vectors_of(codes) + left * network.std, vectors, rtol=1e-4, atol=1e-4)
    assert network.mel_of(codes).shape == (80, 80)
