"""UTMOS: against recorded numbers, transformers' wav2vec 2.0 and the procedure step by step; and at the edges."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from audio_helpers import media, noise, nothing, score_one, speech

from bench.api import Score, Source
from bench.conformance import Fill
from bench.conformance import run as conform
from bench.detfill import fill_module
from bench.media import Media, resample
from bench.metrics import utmos_net
from bench.metrics.adapters_nets_audio import OPS, utmos
from bench.metrics.utmos import PARAMETERS, WEIGHTS, Utmos
from bench.metrics.utmos_net import PositionalConvolution, Sizes, StrongLearner, receptive_field
from bench.networks import Seeded

ROOT = Path(__file__).parents[2]
UTMOS = "utmos/strong-learner@1"
SMALL: dict[str, Any] = {
    "conv_channels": 24,
    "width": 32,
    "heads": 2,
    "ffn": 40,
    "layers": 2,
    "pos_conv": {"kernel": 16, "groups": 4},
    "emb": 4,
    "lstm": 6,
    "proj": 10,
}


def small(**changed: Any) -> StrongLearner:
    return fill_module(StrongLearner(Sizes.of(PARAMETERS, **{**SMALL, **changed})), 1.7).eval()


@lru_cache(maxsize=1)
def metric() -> Utmos:
    made = Utmos(Seeded({WEIGHTS.name: 1.2}))
    made.load("cpu")
    return made


def score(output: Media) -> Any:
    return score_one(metric(), UTMOS, output, nothing())


def waves(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(noise(int(np.prod(shape)), 0.1, seed).reshape(shape))


def test_goldens() -> None:
    results = conform(ROOT / "tests" / "golden", ["metrics"], list(OPS), tables={"metrics": OPS})
    assert [result.detail for result in results if not result.passed] == []


def test_parameters_are_those_of_the_manifest() -> None:
    manifest = json.loads((ROOT / "bench" / "manifests" / str(WEIGHTS.manifest)).read_text())["tensors"]
    with torch.device("meta"):
        state = StrongLearner(Sizes.of(PARAMETERS)).state_dict()
    assert {name: list(tensor.shape) for name, tensor in state.items()} == {
        name: entry["shape"] for name, entry in manifest.items()
    }


def test_declaration_holds_the_published_parameters() -> None:
    path = ROOT / ".." / "shared" / "specs" / "protocols.json"
    if not path.is_file():
        pytest.skip("../shared/specs/protocols.json is not here")
    wanted = json.loads(path.read_text())["protocols"][UTMOS]
    protocol = Utmos.protocols[0]
    assert wanted["parameters"].items() <= protocol.parameters.items()
    assert (protocol.source, list(protocol.used_by)) == (wanted["reference"], wanted["used_by"])
    assert (list(protocol.failures), protocol.status) == (wanted["failures"], wanted["status"])
    assert (WEIGHTS.name, WEIGHTS.manifest) == tuple(wanted["weights"][0][key] for key in ("file", "manifest"))
    assert protocol.parameters["score"] == "{score_scale:g}*mean+{score_offset:g}".format(**protocol.parameters)


def as_transformers(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The names that transformers' ``Wav2Vec2Model`` gives to the tensors of ``wav2vec2.*``."""
    words = {
        "mask_emb": "masked_spec_embed",
        "encoder.pos_conv.0.weight_g": "encoder.pos_conv_embed.conv.parametrizations.weight.original0",
        "encoder.pos_conv.0.weight_v": "encoder.pos_conv_embed.conv.parametrizations.weight.original1",
        "encoder.pos_conv.0.bias": "encoder.pos_conv_embed.conv.bias",
        "self_attn_layer_norm": "layer_norm",
        "self_attn": "attention",
        "fc1": "feed_forward.intermediate_dense",
        "fc2": "feed_forward.output_dense",
        "post_extract_proj": "feature_projection.projection",
    }
    mapped = {}
    for name, tensor in state.items():
        if name.startswith("layer_norm."):
            name = f"feature_projection.{name}"
        if name.startswith("feature_extractor."):
            name = (
                name.replace(".0.weight", ".conv.weight")
                if ".0.weight" in name
                else name.replace(".2.", ".layer_norm.")
            )
        for ours, theirs in words.items():
            name = name.replace(ours, theirs)
        mapped[name] = tensor
    return mapped


@pytest.mark.parametrize("n", [400, 719, 720, 9_999, 10_320, 16_001])
def test_features_equal_transformers(n: int) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    ours = small(layers=3)
    config = transformers.Wav2Vec2Config(
        hidden_size=SMALL["width"],
        num_hidden_layers=3,
        num_attention_heads=SMALL["heads"],
        intermediate_size=SMALL["ffn"],
        conv_dim=[SMALL["conv_channels"]] * 7,
        num_conv_pos_embeddings=SMALL["pos_conv"]["kernel"],
        num_conv_pos_embedding_groups=SMALL["pos_conv"]["groups"],
    )
    theirs = transformers.Wav2Vec2Model(config).eval()
    theirs.load_state_dict(as_transformers(ours.wav2vec2.state_dict()), strict=True)
    with torch.inference_mode():
        expected = theirs(waves(2, n)).last_hidden_state
        torch.testing.assert_close(ours.wav2vec2(waves(2, n)), expected, rtol=1e-4, atol=5e-6)


def plain(net: StrongLearner, wave: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Features and scores by the steps of the specification: padding to an even length, mask, explicit softmax."""
    w2v, encoder = net.wav2vec2, net.wav2vec2.encoder
    x = wave[:, None]
    for layer in w2v.feature_extractor.conv_layers:
        x = torch.nn.functional.gelu(layer(x))
    x = w2v.post_extract_proj(w2v.layer_norm(x.transpose(1, 2)))
    conv = encoder.pos_conv[0]
    weight = torch.stack(
        [
            conv.weight_g[0, 0, k] * conv.weight_v[:, :, k] / conv.weight_v[:, :, k].norm()
            for k in range(conv.weight_v.shape[2])
        ],
        dim=2,
    )
    y = torch.nn.functional.conv1d(
        x.transpose(1, 2), weight, conv.bias, padding=weight.shape[2] // 2, groups=SMALL["pos_conv"]["groups"]
    )[..., :-1]
    x = encoder.layer_norm(x + torch.nn.functional.gelu(y).transpose(1, 2))
    n = x.shape[1]
    x = torch.nn.functional.pad(x, (0, 0, 0, n % 2))
    for layer in encoder.layers:
        at = layer.self_attn
        heads = SMALL["heads"]
        q, k, v = (p(x).unflatten(2, (heads, -1)).transpose(1, 2) for p in (at.q_proj, at.k_proj, at.v_proj))
        logits = q @ k.transpose(2, 3) * (SMALL["width"] / heads) ** -0.5
        logits[..., n:] = float("-inf")
        mixed = (logits.softmax(3) @ v).transpose(1, 2).flatten(2)
        x = layer.self_attn_layer_norm(x + at.out_proj(mixed))
        x = layer.final_layer_norm(x + layer.fc2(torch.nn.functional.gelu(layer.fc1(x))))
    x = x[:, :n]
    vectors = torch.cat([net.domain_emb, net.judge_emb], 1)[:, None].expand(len(x), n, -1)
    frames = net.projection(net.blstm(torch.cat([x, vectors], 2))[0])
    return x, 2 * frames.mean((1, 2)) + 3


@pytest.mark.parametrize("n", [400, 1040, 5_200, 9_680, 9_999])
def test_leaving_out_the_padded_step_changes_nothing(n: int) -> None:
    net, wave = small().double(), waves(2, n).double()
    with torch.inference_mode():
        features, scores = plain(net, wave)
        torch.testing.assert_close(net.wav2vec2(wave), features, rtol=1e-9, atol=1e-10)
        torch.testing.assert_close(net.settle()(wave), scores, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(("level", "shift"), [(0.1, 0.0), (1e-4, 0.0), (0.1, 1.0), (0.0, 0.0), (0.0, 0.3)])
def test_norm_of_the_first_layer_equals_torch_group_norm(level: float, shift: float) -> None:
    net, wave = small(), waves(2, 7_003) / 0.1 * level + shift
    layer = net.wav2vec2.feature_extractor.conv_layers[0]
    with torch.inference_mode():
        convolved = layer[0](wave[:, None])
        scale, offset = net.wav2vec2.feature_extractor._whole_norm(wave)
        expected = layer[2].double()(convolved.double()).float()
        torch.testing.assert_close(convolved * scale + offset, expected, rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize("piece", [1, 7, 30])
def test_pieces_of_a_long_wave_equal_the_whole(monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    net, wave = small(), waves(2, 400 + 30 * 320 + 17)
    with torch.inference_mode():
        whole = net(wave)
        monkeypatch.setattr(utmos_net, "_PIECE", piece)
        torch.testing.assert_close(net(wave), whole, rtol=1e-5, atol=1e-6)


def test_a_batch_of_equal_lengths_equals_its_waves_alone() -> None:
    net, batch = small(), waves(3, 6_000)
    with torch.inference_mode():
        together = net(batch)
        alone = torch.cat([net(wave[None]) for wave in batch])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)
    assert together.std() > 1e-4


@pytest.mark.parametrize("kernel", [3, 4, 7, 8])
def test_positional_convolution_keeps_the_length_and_settles(kernel: int) -> None:
    conv = fill_module(PositionalConvolution(8, kernel, 2))
    with torch.no_grad():
        first = conv(torch.ones(1, 8, 5))
        assert first.shape == (1, 8, 5)
        conv.settle()
        assert torch.equal(conv(torch.ones(1, 8, 5)), first)


def test_receptive_field_of_the_base_model() -> None:
    assert receptive_field(Sizes.of(PARAMETERS).convolutions) == (400, 320)


def test_adapter_resamples_by_the_rate_in_the_name() -> None:
    wave = noise(2 * 4_410).reshape(2, 4_410)
    fill = Fill("detfill-1", 1.7)
    outputs = utmos(SMALL, {"wav3": wave, "wav44k": wave}, fill)
    at_16k = utmos(SMALL, {"wav": np.stack([resample(row, 44_100, 16_000, "sinc") for row in wave])}, fill)
    assert np.array_equal(outputs["score44k"], at_16k["score"])
    assert outputs["features3"].shape == (2, 13, SMALL["width"])


def test_score_of_speech_from_a_file(tmp_path: Path) -> None:
    found = score(media(tmp_path, speech()[:24_000]))
    with torch.inference_mode():
        expected = metric()._net(torch.from_numpy(speech()[None, :24_000].copy()))  # type: ignore[misc]
    assert found.values["utmos"] == pytest.approx(float(expected), abs=1e-5)
    assert found.parts["silent_audio"] == 0.0
    assert score(media(tmp_path, speech()[:24_000])).values == found.values


def test_other_rates_go_through_the_sinc_resampler(tmp_path: Path) -> None:
    wave = noise(11_025)
    expected = score(media(tmp_path, resample(wave, 22_050, 16_000, "sinc"))).values["utmos"]
    assert score(media(tmp_path, wave, 22_050)).values["utmos"] == pytest.approx(expected, abs=1e-6)


def test_silence_is_scored_with_a_flag(tmp_path: Path) -> None:
    found = score(media(tmp_path, np.zeros(8_000, np.float32)))
    assert isinstance(found, Score)
    assert found.parts["silent_audio"] == 1.0 and np.isfinite(found.values["utmos"])


def test_edges_fail_by_rule(tmp_path: Path) -> None:
    assert score(media(tmp_path, noise(1_599))).kind == "too_short"
    assert isinstance(score(media(tmp_path, noise(1_600))), Score)
    assert score(media(tmp_path, np.array([0.1, np.nan] * 2_000, np.float32))).kind == "nan"
    assert score(nothing()).kind == "no_audio_stream"


def test_stored_score_is_used_without_decoding(tmp_path: Path) -> None:
    first = media(tmp_path, noise(4_000))
    value = score(first)
    assert list(first.new_features) == [f"audio:utmos-{Seeded({WEIGHTS.name: 1.2}).identity(WEIGHTS)}@1"]
    assert score(Media(None, Source(tmp_path / "gone.wav"), "x", stored=first.new_features)) == value


def test_without_the_official_file_the_remedy_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    lines = Utmos().missing(UTMOS)
    assert len(lines) == 1 and WEIGHTS.name in lines[0] and "bench weights add" in lines[0]
