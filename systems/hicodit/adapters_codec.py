"""Adapters for ``bench conformance`` (component ``hicodit``): the codecs and their parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from bench.conformance import Fill
    from bench.records import Array
    from bench.systems.hicodit.codec.dac import Dac
    from bench.systems.hicodit.codec.rvq import ResidualQuantizer

OPS: dict[str, str] = {name: f"{__name__}:{name}" for name in ("snake", "dac_rvq", "dac", "maskgct_tiny", "mel_rvq")}


def snake(config: dict[str, Any], inputs: dict[str, Array], fill: Fill) -> dict[str, Array]:
    """The activation with given slopes."""
    import torch

    from bench.nets.codec_blocks import Snake

    slopes = torch.from_numpy(inputs["alpha"])
    network = Snake(slopes.shape[1])
    network.load_state_dict({"alpha": slopes})
    with torch.inference_mode():
        return {"y": network(torch.from_numpy(inputs["x"])).numpy()}


def dac_rvq(config: dict[str, Any], inputs: dict[str, Array], fill: Fill) -> dict[str, Array]:
    """Quantising with all levels and with the first ones, and back from codes and from latents."""
    import torch

    from bench.systems.hicodit.codec.rvq import ResidualQuantizer, RvqSizes

    levels = config["n_codebooks"]
    sizes = RvqSizes(config["input_dim"], levels, config["codebook_size"], config["codebook_dim"])
    network, values = fill.apply(ResidualQuantizer(sizes)).eval(), torch.from_numpy(inputs["z"])
    with torch.inference_mode():
        found = network(values)
        out = {
            "z_q": found.values,
            "codes": found.codes,
            "latents": found.latents,
            "margin": _margin(network, found.latents),
            "commitment_loss": found.commitment,
            "codebook_loss": found.codebook,
            "from_codes.z_q": network.values_of(found.codes),
            "from_codes.z_p": network.rows_of(found.codes),
            "from_latents.z_q": network.values_of(network.codes_of_latents(found.latents)),
            **{f"z_q_{count}": network(values, count).values for count in range(1, levels + 1)},
        }
    return _plain(out)


def dac(config: dict[str, Any], inputs: dict[str, Array], fill: Fill) -> dict[str, Array]:
    """The whole codec from a waveform, or its decoder from codes."""
    import torch

    from bench.media.log_mel import padded
    from bench.systems.hicodit.codec.dac import Dac, DacSizes

    network = fill.apply(Dac(DacSizes.of_config(config))).eval()
    with torch.inference_mode():
        if "codes" in inputs:
            values = network.quantizer.values_of(torch.from_numpy(inputs["codes"]).long())
            return _plain({"z": values} | _sounded(network, values))
        audio = torch.from_numpy(inputs["audio"])
        whole = padded(audio, network.sizes.hop)
        features = network.encoder(whole)
        found = network.quantizer(features)
        out = {"padded": whole, "encoder": features, "z": found.values, "codes": found.codes, "latents": found.latents}
        sounded = _sounded(network, found.values)
        sounded["audio"] = sounded["audio"][..., : audio.shape[-1]]
        return _plain({**out, "margin": _margin(network.quantizer, found.latents), **sounded})


def maskgct_tiny(config: dict[str, Any], inputs: dict[str, Array], fill: Fill) -> dict[str, Array]:
    """Encoder, quantiser, vocoder; codes are ``(levels, B, L)`` here, as in the published code."""
    import torch

    from bench.systems.hicodit.codec.maskgct import DecoderSizes, EncoderSizes, MaskgctDecoder, MaskgctEncoder

    encoder = fill.apply(MaskgctEncoder(EncoderSizes.of_config(config["encoder"]))).eval()
    decoder = fill.apply(MaskgctDecoder(DecoderSizes.of_config(config["decoder"]))).eval()
    with torch.inference_mode():
        features = encoder(torch.from_numpy(inputs["audio"]))
        found = decoder.quantizer(features)
        out = {
            "encoder": features,
            "quantized": found.values,
            "codes": found.codes.transpose(0, 1),
            "margin": _margin(decoder.quantizer, found.latents),
            "vq2emb": decoder.quantizer.values_of(found.codes),
            "backbone": decoder.model.backbone(found.values),
            "audio": decoder.model(found.values),
        }
    return _plain(out)


def mel_rvq(config: dict[str, Any], inputs: dict[str, Array], fill: Fill) -> dict[str, Array]:
    """Vectors of a waveform, their codes by given statistics and codebooks, and what the codes stand for."""
    import torch

    from bench.media.log_mel import LogMelConfig
    from bench.systems.hicodit.codec.mel_rvq import MelRvq, MelRvqSizes

    mel = LogMelConfig(
        n_fft=config["n_fft"], win_length=config["window"], hop_length=config["hop"], n_mels=config["mels"]
    )
    given = {name: torch.from_numpy(inputs[name]) for name in ("mean", "std", "codebooks")}
    levels, codes, width = given["codebooks"].shape
    network = MelRvq(MelRvqSizes(levels, codes, width // mel.n_mels, mel))
    network.load_state_dict(given)
    with torch.inference_mode():
        vectors = network.vectors(torch.from_numpy(inputs["wave"])[None])[0]
        found = network.codes_of(vectors)
        return _plain({"vectors": vectors, "codes": found, "log_mel": network.vectors_of(found)})


def _sounded(network: Dac, values: Tensor) -> dict[str, Tensor]:
    before = network.decoder.before_tanh(values)
    return {"pretanh": before, "audio": before.tanh()}


def _margin(quantizer: ResidualQuantizer, latents: Tensor) -> Tensor:
    """How much farther ``(B, levels, L)`` the second-nearest row is than the nearest, in squared distance."""
    import torch

    parts = torch.split(latents, quantizer.sizes.code_width, dim=1)
    nearest = [quantizer.level(i).distances(part).topk(2, largest=False).values for i, part in enumerate(parts)]
    return torch.stack([two[..., 1] - two[..., 0] for two in nearest], dim=1)


def _plain(tensors: dict[str, Tensor]) -> dict[str, Array]:
    return {name: tensor.numpy() for name, tensor in tensors.items()}
