"""Who speaks: WavLM and ECAPA-TDNN against recordings and another implementation, the voice vector of the tiny size."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.api import Unscorable
from bench.conformance import Case, run_case
from bench.media.log_mel import log_mel
from bench.systems.talker.adapters_voice import OPS
from bench.systems.talker.speaker_encoder import SpeakerConfig, SpeakerEncoder
from bench.systems.talker.voice_vector import NORM, SIZE, speech_span, voice_vector
from bench.systems.talker.wavlm import WavLM, WavLMConfig, convolutions_of, relative_buckets
from bench.weights_check import FOLDER, Spec, _manifest
from bench.weights_file import spec_of

GOLDEN = Path(__file__).parents[1] / "golden" / "talker"
TINY = WavLMConfig(
    encoder_layers=3,
    encoder_embed_dim=32,
    encoder_ffn_embed_dim=48,
    encoder_attention_heads=4,
    convolutions=((16, 10, 5), *((16, 3, 2),) * 4, *((16, 2, 2),) * 2),
    conv_pos=16,
    conv_pos_groups=4,
    num_buckets=32,
    max_distance=40,
)


@pytest.mark.parametrize("name", sorted(OPS))
def test_recorded_cases(name: str) -> None:
    result = run_case(Case("talker", name, name, GOLDEN / f"{name}.safetensors"), OPS[name])
    assert result.status == "pass", result.detail


def test_names_and_shapes_are_those_of_the_official_file() -> None:
    with torch.device("meta"):
        network = SpeakerEncoder()
    manifest = _manifest((FOLDER / "talker_speaker_encoder.json").name)
    assert {name: spec_of(tensor) for name, tensor in network.state_dict().items()} == dict(manifest.tensors)


def wavlm(config: WavLMConfig = TINY) -> WavLM:
    torch.manual_seed(0)
    network = WavLM(config).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network


def test_hidden_states_are_those_of_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.WavLMConfig(
        hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48, conv_dim=[16] * 7,
        feat_extract_norm="layer", do_stable_layer_norm=True, num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4, num_buckets=32, max_bucket_distance=40, layerdrop=0.0, conv_bias=False,
    )  # fmt: skip
    ours, theirs = wavlm(), transformers.WavLMModel(config).eval()
    theirs.load_state_dict({_in_transformers(name): tensor for name, tensor in ours.state_dict().items()})
    wave = torch.randn(2, 5000)
    with torch.no_grad():
        states = ours.hidden_states(list(wave))
        level = torch.nn.functional.layer_norm(wave, wave.shape[1:])
        found = theirs(level, output_hidden_states=True)
    for one, other in zip(states, [*found.hidden_states[:3], found.last_hidden_state], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def _in_transformers(name: str) -> str:
    """s3prl's name as transformers has it."""
    for ours, theirs in (
        ("mask_emb", "masked_spec_embed"),
        ("post_extract_proj", "feature_projection.projection"),
        ("encoder.pos_conv.0.weight_g", "encoder.pos_conv_embed.conv.parametrizations.weight.original0"),
        ("encoder.pos_conv.0.weight_v", "encoder.pos_conv_embed.conv.parametrizations.weight.original1"),
        ("encoder.pos_conv.0.bias", "encoder.pos_conv_embed.conv.bias"),
        ("self_attn.grep_linear", "attention.gru_rel_pos_linear"),
        ("self_attn.grep_a", "attention.gru_rel_pos_const"),
        ("self_attn.relative_attention_bias", "attention.rel_attn_embed"),
        ("self_attn_layer_norm", "layer_norm"),
        ("self_attn.", "attention."),
        ("fc1", "feed_forward.intermediate_dense"),
        ("fc2", "feed_forward.output_dense"),
        (".0.weight", ".conv.weight"),
        (".2.1.", ".layer_norm."),
    ):
        if ours in name and not (ours == ".0.weight" and "conv_layers" not in name):
            name = name.replace(ours, theirs)
    return f"feature_projection.{name}" if name.startswith("layer_norm.") else name


def test_padding_changes_nothing() -> None:
    network, waves = wavlm(), [torch.randn(6400), torch.randn(4000)]
    with torch.no_grad():
        alone, together = network.hidden_states(waves[1:]), network.hidden_states(waves)
    frames = alone[0].shape[1] - 1  # the last may see a little of the padding
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(one[0, : frames - 4], other[1, : frames - 4], rtol=0.1, atol=0.05)


def test_buckets() -> None:
    far = relative_buckets(torch.tensor([0, 1, -1, 79, -79, 80, 799, 5000, -5000]), 320, 800)
    assert far.tolist() == [0, 161, 1, 239, 79, 240, 319, 319, 159]


def test_convolutions_are_parsed_not_run() -> None:
    assert convolutions_of("[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2") == WavLMConfig().convolutions
    for wrong in ("__import__('os').getcwd()", "[(1, 2)]", "open('x')"):
        with pytest.raises(ValueError):
            convolutions_of(wrong)


def test_another_kind_of_wavlm_is_refused() -> None:
    with pytest.raises(ValueError, match="layer_norm_first"):
        WavLMConfig.of({"layer_norm_first": False})


def test_an_embedding_tells_waves_apart() -> None:
    torch.manual_seed(0)
    network = SpeakerEncoder(SpeakerConfig(TINY, channels=16, emb_dim=8)).eval()
    with torch.no_grad():
        found = network(torch.stack([torch.randn(8000), torch.sin(torch.arange(8000) / 20.0)]))
    assert found.shape == (2, 8)
    assert float((found[0] - found[1]).abs().max()) > 1e-3


def mel(silence: int = 0, pitch: float = 0.05) -> torch.Tensor:
    """Of half a second of a buzz between so many samples of silence: (80, T)."""
    buzz = torch.sign(torch.sin(pitch * torch.arange(8000)))
    wave = torch.nn.functional.pad(0.3 * buzz, (silence, silence))
    return log_mel(wave[None])[0].T


def test_the_voice_vector_has_one_norm_and_knows_voices() -> None:
    mean, deviation = torch.zeros(80), torch.ones(80)
    one, same, other = (voice_vector(mel(pitch=pitch), mean, deviation) for pitch in (0.05, 0.0505, 0.2))
    assert one.shape == (SIZE,)
    assert float(one.norm()) == pytest.approx(NORM)
    assert float((one - same).norm()) < float((one - other).norm())


def test_silence_around_speech_counts_for_nothing() -> None:
    mean, deviation = torch.zeros(80), torch.ones(80)
    bare, within = (voice_vector(mel(silence), mean, deviation) for silence in (0, 16000))
    assert float((bare - within).norm()) < NORM / 10
    first, after = speech_span(mel(16000))
    assert abs(first - 100) <= 3
    assert abs(after - 150) <= 3
    assert speech_span(mel()[:, :0]) == (0, 0)


def test_too_little_speech_is_refused() -> None:
    with pytest.raises(Unscorable, match="too_short"):
        voice_vector(mel()[:, :2], torch.zeros(80), torch.ones(80))


def test_manifest_entries_are_specs() -> None:
    manifest = _manifest("talker_speaker_encoder.json")
    assert manifest.tensors["feature_weight"] == Spec((25,), "float32")
    assert manifest.taken({"loss_calculator.projection.weight": 1, "feature_weight": 2}) == {"feature_weight": 2}
