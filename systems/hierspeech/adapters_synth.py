"""Golden cases of the synthesizer, its blocks, SpeechSR and the discriminators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from bench import weights
from bench.errors import DataError
from bench.systems.hierspeech.alias_free import Activation1d
from bench.systems.hierspeech.amp_block import AmpBlock
from bench.systems.hierspeech.discriminators import Judgement, PeriodDiscriminator, StftDiscriminator
from bench.systems.hierspeech.encoders import sample
from bench.systems.hierspeech.generator import Generator, GeneratorConfig
from bench.systems.hierspeech.pitch_predictor import ResBlock1
from bench.systems.hierspeech.sequence import given_noise
from bench.systems.hierspeech.source import DBlock, SourceNetwork
from bench.systems.hierspeech.speechsr import SpeechSr, SpeechSrConfig
from bench.systems.hierspeech.synthesizer import Synthesizer, SynthesizerConfig, blend
from bench.systems.hierspeech.weight_files import SPEECHSR
from bench.weights_file import load_any

if TYPE_CHECKING:
    from bench.conformance import Fill
    from bench.records import Array

OPS: dict[str, str] = {
    op: f"{__name__}:{op}"
    for op in (
        "alias_free",
        "amp_block",
        "dblock",
        "disc_period",
        "disc_stft",
        "generator",
        "resblock1",
        "source_network",
        "speechsr",
        "synth_infer",
        "synth_posterior",
    )
}

_Config = Mapping[str, Any]
_Inputs = Mapping[str, "Array"]
_Outputs = dict[str, Any]
_Sizes = TypeVar("_Sizes", GeneratorConfig, SpeechSrConfig, SynthesizerConfig)


def _sizes(kind: type[_Sizes], config: _Config) -> _Sizes:
    """The entries of a configuration that are sizes; the rest belongs to the operation, or to nothing."""
    names = {field.name for field in fields(kind)}
    return kind(**{name: _frozen(value) for name, value in config.items() if name in names})


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _tensors(inputs: _Inputs) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in inputs.items()}


def _arrays(outputs: Mapping[str, Tensor]) -> _Outputs:
    return {name: tensor.numpy() for name, tensor in outputs.items()}


@torch.no_grad()
def alias_free(config: _Config, inputs: _Inputs, fill: Fill) -> _Outputs:
    """The activation, its two samplers and SnakeBeta alone; α and β are inputs."""
    x = _tensors(inputs)
    network = fill.apply(Activation1d(config["channels"])).eval()
    network.act.load_state_dict({"alpha": x["alpha"], "beta": x["beta"]})
    return _arrays(
        {
            "activation": network(x["x"]),
            "down": network.downsample(x["x"]),
            "filter": network.upsample.filter,
            "snakebeta": network.act(x["x"]),
            "up": network.upsample(x["x"]),
        }
    )


@torch.no_grad()
def amp_block(config: _Config, inputs: _Inputs, fill: Fill) -> _Outputs:
    """One AMP block."""
    network = fill.apply(AmpBlock(config["channels"], config["kernel_size"], config["dilation"])).eval()
    return _arrays({"y": network(_tensors(inputs)["x"])})


@torch.no_grad()
def resblock1(config: _Config, inputs: _Inputs, fill: Fill) -> _Outputs:
    """One residual block of HiFi-GAN."""
    network = fill.apply(ResBlock1(config["channels"], config["kernel_size"], config["dilation"])).eval()
    return _arrays({"y": network(_tensors(inputs)["x"])})


@torch.no_grad()
def dblock(config: _Config, inputs: _Inputs, fill: Fill) -> _Outputs:
    """The down-sampling block."""
    network = fill.apply(DBlock(config["input_size"], config["hidden_size"], config["factor"])).eval()
    return _arrays({"y": network(_tensors(inputs)["x"])})


@torch.no_grad()
def source_network(config: _Config, inputs: _Inputs, fill: Fill) -> _Outputs:
    """The source network; its ``upsample_initial_channel`` is its own, not the generator's."""
    x = _tensors(inputs)
    width, style = config["upsample_initial_channel"], x["g"].shape[1]
    network = fill.apply(SourceNetwork(x["x"].shape[1], width, style)).eval()
    features, log_f0 = network(x["x"], x["g"])
    return _arrays({"e": features, "logf0": log_f0})


@torch.no_grad()
def generator(config: _Config, inputs: _Inputs, fill: Fill) -> _Outputs:
    """The waveform generator."""
    x = _tensors(inputs)
    network = fill.apply(Generator(_sizes(GeneratorConfig, config))).eval()
    return _arrays({"wav": network(x["z"], x["source"], x["g"])})


@torch.no_grad()
def synth_infer(config: _Config, inputs: _Inputs, fill: Fill) -> _Outputs:
    """Every way through the inference path, and its parts from the mean without noise."""
    x = _tensors(inputs)
    network = fill.apply(Synthesizer(_sizes(SynthesizerConfig, config))).eval()
    mask, scale = torch.ones_like(x["w2v"][:, :1]), config["noise_scale"]
    rows = network.style(x["mel2"])
    first, mixed, own = rows[:1], blend(rows, config["denoise_ratio"]), network.style(x["mel"])

    def latent(g: Tensor, noise: Tensor, spread: float) -> Tensor:
        return network.latent(x["w2v"], x["f0"], mask, g, given_noise(noise), spread)

    converted = latent(first, x["noise1"], scale)
    resynthesised, log_f0 = network.decode(latent(own, x["noise0"], 1.0), own)
    mean, log_sigma = network.enc_p_l(x["w2v"], x["f0"], mask, first)
    z = network.inverse_flows(mean, mask, first)
    source, source_log_f0 = network.sn(z, first)
    return _arrays(
        {
            "vc_noise_control": network.decode(latent(mixed, x["noise1"], scale), mixed)[0],
            "vc": network.decode(converted, first)[0],
            "vc_uncond": network.decode(converted, network.null_style(1))[0],
            "resynth": resynthesised,
            "resynth_logf0": log_f0,
            "m": mean,
            "logs": log_sigma,
            "z_after_flows": z[:, ::8],
            "source_e": source,
            "source_logf0": source_log_f0,
            "dec": network.dec(z, source, first),
            "mel_decoder": network.mel_decoder(z, mask, first),
        }
    )


@torch.no_grad()
def synth_posterior(config: _Config, inputs: _Inputs, fill: Fill) -> _Outputs:
    """The encoders of training, and the F0 that the source network finds in real speech."""
    x = _tensors(inputs)
    network = fill.apply(Synthesizer(_sizes(SynthesizerConfig, config))).eval()
    mask, g = torch.ones_like(x["w2v"][:, :1]), network.style(x["mel"])
    gaussian = network.posterior(x["spec"], x["audio"], mask, g)
    mean, log_sigma = network.enc_p(x["w2v"], x["f0"], mask, g)
    outputs = {
        "m_q": gaussian[0],
        "logs_q": gaussian[1],
        "z": sample(gaussian, x["noise"]) * mask,
        "enc_p_m": mean,
        "enc_p_logs": log_sigma,
    }
    found = network.source_f0(gaussian, g, given_noise(x["noise"]), config["noise_scale"])
    return _arrays({**{name: tensor[:, ::2] for name, tensor in outputs.items()}, "f0_extraction": found})


@torch.no_grad()
def speechsr(config: _Config, inputs: _Inputs, fill: Fill) -> _Outputs:
    """Super-resolution; the case's name says the output rate, and whether with the official weights."""
    case = fill.header["case"]
    network = SpeechSr(_sizes(SpeechSrConfig, config), 48000 if "48k" in case else 24000)
    if "real" in case:
        network.load_state_dict(official_speechsr(network.output_rate, fill))
    else:
        fill.apply(network)
    return _arrays({"y": network.eval().enhance(_tensors(inputs)["x"])})


def official_speechsr(rate: int, fill: Fill) -> dict[str, Tensor]:
    """The official tensors: what the user has added, or files in a folder ``weights`` beside that of the golden cases.

    Raises:
        DataError: they are nowhere.
    """
    if weights.locate(SPEECHSR[rate]) is not None:
        return weights.tensors(SPEECHSR[rate])
    name = f"speechsr{rate // 1000}k.safetensors"
    beside = [fill.folder.parents[1] / "weights"] if fill.folder is not None else []
    for folder in (weights.folder(), *beside):
        if (folder / name).is_file():
            return load_any(folder / name)
    raise DataError(f"{name} is neither in {weights.folder()} nor beside the golden cases", "the case needs it.")


@torch.no_grad()
def disc_period(config: _Config, inputs: _Inputs, fill: Fill) -> _Outputs:
    """A period discriminator; of the first map two channels."""
    network = PeriodDiscriminator(config["period"], config["kernel_size"], config["stride"])
    judgement = fill.apply(network).eval()(_tensors(inputs)["x"])
    return _arrays({**_statistics(judgement), "fmap0": judgement[1][0][:, :2]})


@torch.no_grad()
def disc_stft(config: _Config, inputs: _Inputs, fill: Fill) -> _Outputs:
    """A spectrogram discriminator; of the spectrum every eighth bin."""
    x = _tensors(inputs)["x"]
    network = fill.apply(StftDiscriminator(config["resolution"])).eval()
    spectrum = network.spec_transform(x)[:, :, ::8]
    return _arrays({**_statistics(network(x)), "spec_real": spectrum.real, "spec_imag": spectrum.imag})


def _statistics(judgement: Judgement) -> dict[str, Tensor]:
    logits, maps = judgement
    found = {"logits": logits}
    for index, values in enumerate(maps):
        found |= {f"fmap{index}_mean": values.mean(), f"fmap{index}_std": values.std()}
    return found
