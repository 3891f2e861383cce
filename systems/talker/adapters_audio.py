"""Adapters for ``bench conformance`` (component ``talker``): WhisperX-VAE, Whisper's log-mel, the resampler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from bench.conformance import Fill
    from bench.records import Array

OPS: dict[str, str] = {
    name: f"{__name__}:{name}"
    for name in (
        "snake_units",
        "vae_encoder_block",
        "vae_decoder_block",
        "whisperx_vae_tiny",
        "whisperx_vae_decoder_full",
        "whisper_mel",
        "resample",
    )
}


def snake_units(config: dict[str, Any], inputs: dict[str, Array], fill: Fill) -> dict[str, Array]:
    """A residual unit."""
    from bench.nets.codec_blocks import ResidualUnit

    return _applied(ResidualUnit(config["dim"], config.get("dilation", 1)), inputs, fill)


def vae_encoder_block(config: dict[str, Any], inputs: dict[str, Array], fill: Fill) -> dict[str, Array]:
    """An encoder block."""
    from bench.nets.codec_blocks import EncoderBlock

    return _applied(EncoderBlock(config["dim"], config["stride"]), inputs, fill)


def vae_decoder_block(config: dict[str, Any], inputs: dict[str, Array], fill: Fill) -> dict[str, Array]:
    """A decoder block."""
    from bench.nets.codec_blocks import DecoderBlock

    return _applied(DecoderBlock(config["input_dim"], config["output_dim"], config["stride"]), inputs, fill)


def whisperx_vae_tiny(config: dict[str, Any], inputs: dict[str, Array], fill: Fill) -> dict[str, Array]:
    """Both branches, the latent of a wave, and the wave of a given latent."""
    import torch

    from bench.systems.talker.whisperx_vae import VAEConfig, WhisperXVAE

    network = fill.apply(WhisperXVAE(VAEConfig.of_checkpoint(config["codec"], config.get("whisper")))).eval()
    given = {name: torch.from_numpy(value) for name, value in inputs.items()}
    wave, mel, latent = given["wav"], given.get("feats"), given["latent"]
    with torch.inference_mode():
        out = {
            "encoded": network.encode(wave, mel),
            "decoded": network.decode(latent),
            "pre_tanh": network.CodecDec.before_tanh(network.decoder_input(latent)),
        }
        if network.config.in_dim:
            out["acoustic"] = network.acoustic(wave)
        if mel is not None and network.config.whisper is not None:
            out["semantic"] = network.semantic_model.encoder(mel[:, 0])
    return {name: tensor.numpy() for name, tensor in out.items()}


def whisperx_vae_decoder_full(config: dict[str, Any], inputs: dict[str, Array], fill: Fill) -> dict[str, Array]:
    """Projection and decoder alone; ``pre_tanh`` is every fourth sample."""
    import torch
    from torch import nn

    from bench.nets.codec_blocks import CodecDecoder
    from bench.systems.talker.whisperx_vae import Projections

    codec = config["codec"]
    sizes = codec["codec_decoder"]
    width = codec["codec_encoder"]["hidden_dim"] if "codec_encoder" in codec else codec["hidden_dim"]
    network = nn.Module()
    network.vae = Projections(width, sizes["z_dim"])
    network.CodecDec = CodecDecoder(width, sizes["hidden_dim"], sizes["ratios"])
    fill.apply(network.eval())
    with torch.inference_mode():
        features = network.vae.out_proj(torch.from_numpy(inputs["latent"]).transpose(1, 2))
        before = network.CodecDec.before_tanh(features)
    return {"y": before.tanh().numpy(), "pre_tanh": before[..., ::4].numpy()}


def whisper_mel(config: dict[str, Any], inputs: dict[str, Array], fill: Fill) -> dict[str, Array]:
    """The ends of the log-mel, its mean over time, and what tells filter banks apart."""
    import torch

    from bench.systems.talker.whisper_mel import WhisperMelConfig, filters
    from bench.systems.talker.whisper_mel import whisper_mel as make

    settings = WhisperMelConfig(config["n_mels"], config["sample_rate"], config["pad_to"])
    bank, mel = filters(settings), make(torch.from_numpy(inputs["wave"]), settings)
    return {
        "mel_head": mel[..., :60].numpy(),
        "mel_tail": mel[..., -2:].numpy(),
        "mel_mean": mel.mean(-1).numpy(),
        "filter_sum": bank.sum(1).numpy(),
        "filter_argmax": bank.argmax(1).numpy(),
    }


def resample(config: dict[str, Any], inputs: dict[str, Array], fill: Fill) -> dict[str, Any]:
    """The wave at its new rate, the first phase of the kernel, and the kernel's half width."""
    from math import gcd

    import torch

    from bench.systems.talker.resample import resample as convert
    from bench.systems.talker.resample import sinc_kernel

    old, new = config["orig_freq"], config["new_freq"]
    common, settings = gcd(old, new), (config["lowpass_filter_width"], config["rolloff"])
    kernel, width = sinc_kernel(old // common, new // common, *settings)
    wave = torch.from_numpy(inputs["x"])
    made = convert(wave.reshape(-1, wave.shape[-1]), old, new, *settings)
    return {
        "y": made.reshape(*wave.shape[:-1], -1).numpy(),
        "kernel_first": kernel[0, 0].numpy(),
        "width": width,
    }


def _applied(network: nn.Module, inputs: dict[str, Array], fill: Fill) -> dict[str, Array]:
    import torch

    with torch.inference_mode():
        return {"y": fill.apply(network).eval()(torch.from_numpy(inputs["x"])).numpy()}
