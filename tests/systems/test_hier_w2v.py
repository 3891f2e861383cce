"""wav2vec 2.0 features: recorded numbers, padding, the seventh layer, published names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from bench.conformance import Case, run_case
from bench.detfill import fill_module
from bench.errors import DataError, UsageError
from bench.systems.hierspeech.adapters_front import OPS
from bench.systems.hierspeech.w2v import MMS_300M, Wav2VecFeatures, load, padded

SHARED = Path(__file__).parents[2] / ".." / "shared" / "golden" / "hierspeech"
SMALL: dict[str, Any] = {
    **MMS_300M,
    "hidden_size": 32,
    "num_hidden_layers": 9,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "conv_dim": [12] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}


@pytest.fixture(scope="module")
def network() -> Wav2VecFeatures:
    try:
        made = Wav2VecFeatures(SMALL)
    except UsageError as error:
        pytest.skip(str(error))
    fill_module(made.model)
    return made.eval()


def noise(samples: int, items: int = 1) -> torch.Tensor:
    return 0.1 * torch.randn(items, samples, generator=torch.Generator().manual_seed(samples))


@pytest.mark.parametrize("samples", [1, 1279, 1280, 1281, 5000])
def test_padding(samples: int) -> None:
    audio = noise(samples)
    made = padded(audio)
    assert (made.shape[1] - 80) % 1280 == 0
    assert 1 <= made.shape[1] - 80 - samples <= 1280
    assert torch.equal(made[:, 40 : 40 + samples], audio)
    assert torch.equal(made[:, :40], made[:, 41:81].flip(1))
    assert torch.equal(made[:, -40:], made[:, -81:-41].flip(1))


def test_golden(network: Wav2VecFeatures) -> None:
    path = SHARED / "wav2vec2_layer7.safetensors"
    if not path.exists():
        pytest.skip("../shared with wav2vec2_layer7.safetensors (a recording of others) is not beside this checkout")
    result = run_case(Case("hierspeech", "wav2vec2_layer7", "wav2vec2_layer7", path), OPS["wav2vec2_layer7"])
    assert result.passed, result.detail


@pytest.mark.parametrize("samples", [200, 3840, 6000])
def test_the_seventh_hidden_state_of_all_nine_layers(network: Wav2VecFeatures, samples: int) -> None:
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    whole = Wav2Vec2Model(Wav2Vec2Config(**SMALL))
    fill_module(whole).eval()
    audio = padded(noise(samples, 2))
    with torch.inference_mode():
        expected = whole(audio, output_hidden_states=True).hidden_states
        got = network.hidden_states(audio)
    assert len(expected) == 10
    assert len(got) == 8
    for ours, theirs in zip(got, expected, strict=False):
        torch.testing.assert_close(ours, theirs.transpose(1, 2), rtol=1e-4, atol=2e-5)
    assert got[7].shape == (2, 32, (audio.shape[1] - 80) // 320)


def test_items_of_a_batch_do_not_matter(network: Wav2VecFeatures) -> None:
    audio = noise(4000, 3)
    with torch.inference_mode():
        torch.testing.assert_close(network(audio)[1:2], network(audio[1:2]), rtol=1e-4, atol=1e-5)


def published(network: Wav2VecFeatures) -> dict[str, torch.Tensor]:
    """Tensors as the official pickle names them, with a layer and a head that are not used."""
    old = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    named = {}
    for name, tensor in network.model.state_dict().items():
        for new, before in old.items():
            name = name.replace(new, before)
        named[f"wav2vec2.{name}"] = tensor.clone()
    return {**named, "wav2vec2.encoder.layers.8.final_layer_norm.bias": torch.ones(32), "project_q.bias": torch.ones(4)}


def test_published_names_load(network: Wav2VecFeatures, tmp_path: Path) -> None:
    torch.save(published(network), tmp_path / "pytorch_model.bin")
    loaded = load(tmp_path / "pytorch_model.bin", config=SMALL)
    assert not any(p.requires_grad for p in loaded.parameters())
    with torch.inference_mode():
        assert torch.equal(loaded(noise(3000)), network(noise(3000)))


def test_absent_or_misshapen_tensors_are_refused(network: Wav2VecFeatures) -> None:
    tensors = published(network)
    fresh = Wav2VecFeatures(SMALL)
    with pytest.raises(DataError, match=r"layers\.3"):
        fresh.load_official({k: v for k, v in tensors.items() if "layers.3.attention.k_proj.weight" not in k})
    with pytest.raises(DataError, match=r"feature_projection"):
        fresh.load_official({**tensors, "wav2vec2.feature_projection.projection.bias": torch.ones(3)})


def test_another_kind_of_network_is_refused() -> None:
    with pytest.raises(UsageError):
        Wav2VecFeatures({**SMALL, "do_stable_layer_norm": False})
