"""Adapters for ``bench conformance`` (component ``talker``): the speaker encoder and its parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.conformance import Fill
    from bench.records import Array

OPS: dict[str, str] = {
    name: f"{__name__}:{name}" for name in ("wavlm_tiny", "wavlm_tiny_padded", "ecapa_tdnn", "speaker_encoder_tiny")
}


def wavlm_tiny(config: dict[str, Any], inputs: dict[str, Array], fill: Fill) -> dict[str, Array]:
    """``wav`` (B, N): every hidden state."""
    return {f"hidden_{place}": state for place, state in enumerate(_states(config, list(inputs["wav"]), fill))}


def wavlm_tiny_padded(config: dict[str, Any], inputs: dict[str, Array], fill: Fill) -> dict[str, Array]:
    """``wav0``, ``wav1``, ...: the first and last hidden state, of the frames that the shortest wave has but one."""
    from bench.systems.talker.wavlm import WavLMConfig

    waves = [inputs[name] for name in sorted(inputs, key=lambda name: int(name.removeprefix("wav")))]
    frames = min(len(wave) for wave in waves)
    for _, kernel, stride in WavLMConfig.of(config).convolutions:
        frames = (frames - kernel) // stride + 1
    states = _states(config, waves, fill)
    return {"hidden_first": states[0][:, : frames - 1], "hidden_last": states[-1][:, : frames - 1]}


def _states(config: dict[str, Any], waves: list[Array], fill: Fill) -> list[Array]:
    import torch

    from bench.systems.talker.wavlm import WavLM, WavLMConfig

    network = fill.apply(WavLM(WavLMConfig.of(config))).eval()
    with torch.inference_mode():
        return [state.numpy() for state in network.hidden_states([torch.from_numpy(wave) for wave in waves])]


def ecapa_tdnn(config: dict[str, Any], inputs: dict[str, Array], fill: Fill) -> dict[str, Array]:
    """``hidden`` (layers, B, T, D): the steps on the way to the embedding."""
    import torch

    from bench.systems.talker.speaker_encoder import EcapaConfig, EcapaTdnn

    network = fill.apply(EcapaTdnn(EcapaConfig(**config))).eval()
    states = torch.from_numpy(inputs["hidden"])
    with torch.inference_mode():
        features = network.weighed(states)
        pooled, layers = network.pooled(features)
        return {
            "feat": features.numpy(),
            **{f"layer{place}": layer.numpy() for place, layer in enumerate(layers, 1)},
            "pooled_every8": pooled[:, ::8].numpy(),
            "embedding": network.embedded(states).numpy(),
        }


def speaker_encoder_tiny(config: dict[str, Any], inputs: dict[str, Array], fill: Fill) -> dict[str, Array]:
    """``wav`` (B, N): the embedding."""
    import torch

    from bench.systems.talker.speaker_encoder import SpeakerConfig, SpeakerEncoder
    from bench.systems.talker.wavlm import WavLMConfig

    sizes = SpeakerConfig(WavLMConfig.of(config["wavlm"]), config["channels"], config["emb_dim"])
    network = fill.apply(SpeakerEncoder(sizes)).eval()
    with torch.inference_mode():
        return {"embedding": network(torch.from_numpy(inputs["wav"])).numpy()}
