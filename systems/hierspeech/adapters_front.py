"""Adapters for ``bench conformance`` (component ``hierspeech``): text, mel, F0, prompts, denoiser, wav2vec features."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from bench.conformance import Fill
    from bench.records import Array
    from bench.systems.hierspeech.speechsr import SpeechSr
    from bench.systems.hierspeech.synthesizer import Synthesizer
    from bench.systems.hierspeech.ttv import TextToVec
    from bench.systems.hierspeech.yaapt import YaaptConfig

_Settings = TypeVar("_Settings")

OPS: dict[str, str] = {
    name: f"{__name__}:{name}"
    for name in (
        "symbols",
        "text",
        "mel",
        "resample",
        "f0_yaapt",
        "yaapt_stages",
        "vc_f0",
        "output_scaling",
        "wav2vec2_layer7",
        "denoiser_tiny",
        "conformer",
        "prompt_rows",
        "pipeline_tts",
    )
}


def symbols(config: dict[str, Any], inputs: dict[str, Array], fill: Fill) -> dict[str, Any]:
    """The code points of the table."""
    from bench.systems.hierspeech.symbols import SYMBOLS

    return {"codepoints": [ord(symbol) for symbol in SYMBOLS]}


def text(config: dict[str, Any], inputs: dict[str, Array], fill: Fill) -> dict[str, Any]:
    """Ids and tokens of the texts in the case's header."""
    from bench.systems.hierspeech.text import tokens_of

    found = tokens_of(json.loads(fill.header["texts"]), config["voice"])
    ids = {f"ids_{i}": list(one.ids) for i, one in enumerate(found)}
    return {**ids, **{f"tokens_{i}": list(one.tokens) for i, one in enumerate(found)}}


def f0_yaapt(config: dict[str, Any], inputs: dict[str, Array], fill: Fill) -> dict[str, Array]:
    """Each clip NAME: F0 as NAME, with the higher limit as NAME_1100, and log(F0 + 1) of both."""
    from bench.systems.hierspeech.yaapt import F0_MAX_CONVERSION, f0

    out: dict[str, Array] = {}
    for name, clip in inputs.items():
        for suffix, limit in (("", {}), (f"_{F0_MAX_CONVERSION:.0f}", {"f0_max": F0_MAX_CONVERSION})):
            track = f0(clip, _yaapt(config, **limit))
            out[name + suffix], out[f"{name}{suffix}.log"] = track, np.log(track + 1)
    return out


def yaapt_stages(config: dict[str, Any], inputs: dict[str, Array], fill: Fill) -> dict[str, Any]:
    """The arrays of every step for one clip."""
    from bench.systems.hierspeech.yaapt import stages

    found = stages(inputs["audio"], _yaapt(config))
    if found is None:
        raise ValueError("the clip has nothing to analyse")
    return {
        "energy": found.energy,
        "vuv": found.voiced.astype(np.float32),
        "spec_pitch": found.track,
        "spec_pitch_std": found.spread,
        "time_pitch1": found.time_pitch[0],
        "time_pitch2": found.time_pitch[1],
        "time_merit1": found.time_merit[0],
        "time_merit2": found.time_merit[1],
        "refined_pitch": found.refined_pitch,
        "refined_merit": found.refined_merit,
        "final": found.f0,
    }


def mel(config: dict[str, Any], inputs: dict[str, Array], fill: Fill) -> dict[str, Array]:
    """Log-mel (80, T) of each clip NAME, and the sums of the filter bank."""
    import torch

    from bench.systems.hierspeech.mel import MelConfig, filter_bank, log_mel

    settings = _settings(MelConfig, config)
    bank = filter_bank(settings)
    out = {name: log_mel(torch.from_numpy(clip)[None], settings)[0].numpy() for name, clip in inputs.items()}
    return {**out, "fb_rowsum": bank.sum(1).numpy(), "fb_colsum": bank.sum(0).numpy()}


def resample(config: dict[str, Any], inputs: dict[str, Array], fill: Fill) -> dict[str, Array]:
    """Each clip, named by its rate, at the rate ``to``."""
    import torch

    from bench.systems.hierspeech.resample import resample as convert

    settings = (config["lowpass_filter_width"], config["rolloff"], config["beta"])
    return {
        rate: convert(torch.from_numpy(clip)[None], int(rate), config["to"], *settings)[0].numpy()
        for rate, clip in inputs.items()
    }


def vc_f0(config: dict[str, Any], inputs: dict[str, Array], fill: Fill) -> dict[str, Array]:
    """The source's F0 in the target's range."""
    from bench.systems.hierspeech.pitch import convert_f0

    return {"log_f0": convert_f0(inputs["source"], inputs["target"])}


def output_scaling(config: dict[str, Any], inputs: dict[str, Array], fill: Fill) -> dict[str, Array]:
    """int16 by both rules, the pitch limit, and the padded lengths."""
    import torch

    from bench.systems.hierspeech.pitch import clip_pitch
    from bench.systems.hierspeech.waveform import PROMPT_STEP, SOURCE_STEP, padded_length, to_int16

    audio = torch.from_numpy(inputs["audio"])
    return {
        "int16_max": to_int16(audio),
        "int16_prompt": to_int16(audio, float(inputs["prompt_peak"])),
        "pitch_clipped": clip_pitch(torch.from_numpy(inputs["pitch"])).numpy(),
        "prompt_padded_len": np.array([padded_length(int(n), PROMPT_STEP) for n in inputs["prompt_len"]]),
        "source_padded_len": np.array([padded_length(int(n), SOURCE_STEP) for n in inputs["source_len"]]),
    }


def prompt_rows(config: dict[str, Any], inputs: dict[str, Array], fill: Fill) -> dict[str, Any]:
    """Rows and mel of a prompt whose denoised form is given."""
    import torch

    from bench.systems.hierspeech.prompt import prompt_rows as make

    seen: list[int] = []

    def denoise(padded: torch.Tensor) -> torch.Tensor:
        seen.append(padded.shape[-1])
        return torch.from_numpy(inputs["denoised"])

    made = make(torch.from_numpy(inputs["audio"]), denoise)
    return {"rows": made.rows.numpy(), "mel": made.mel.numpy(), "padded_len": seen[0]}


def conformer(config: dict[str, Any], inputs: dict[str, Array], fill: Fill) -> dict[str, Array]:
    """One block."""
    import torch

    from bench.systems.hierspeech.conformer import Conformer

    block = fill.apply(Conformer(config["dim"], config["n_head"], config["ccm_kernel_size"])).eval()
    with torch.inference_mode():
        return {"y": block(torch.from_numpy(inputs["x"])).numpy()}


def denoiser_tiny(config: dict[str, Any], inputs: dict[str, Array], fill: Fill) -> dict[str, Array]:
    """The network on the stored spectrum (every second bin), its audio, and analysis and synthesis without it."""
    import torch

    from bench.systems.hierspeech.denoiser import Denoiser, DenoiserConfig

    names = {"num_tscblocks": "num_tsconformers"}
    settings = _settings(DenoiserConfig, {names.get(name, name): value for name, value in config.items()})
    network = fill.apply(Denoiser(settings)).eval()
    given = {name: torch.from_numpy(value) for name, value in inputs.items()}
    with torch.inference_mode():
        magnitude, phase = network(given["mag"], given["pha"])
        wave = network.synthesise(magnitude, phase) / given["norm"]
        same = network.synthesise(*network.analyse(given["x"][None] * given["norm"])) / given["norm"]
    return {
        "mag_out": magnitude[:, ::2].numpy(),
        "pha_out_cos": phase.cos()[:, ::2].numpy(),
        "pha_out_sin": phase.sin()[:, ::2].numpy(),
        "wav": wave.numpy(),
        "roundtrip": same.numpy(),
    }


def wav2vec2_layer7(config: dict[str, Any], inputs: dict[str, Array], fill: Fill) -> dict[str, Any]:
    """Every hidden state up to the seventh layer's, and the length after padding."""
    import torch

    from bench.systems.hierspeech.w2v import EDGE, Wav2VecFeatures, padded

    network = Wav2VecFeatures(config)
    fill.apply(network.model)
    audio = padded(torch.from_numpy(inputs["audio"]))
    with torch.inference_mode():
        states = network.eval().hidden_states(audio)
    out = {f"hidden_{i}": state.numpy() for i, state in enumerate(states)}
    return {**out, "padded_len": audio.shape[-1] - 2 * EDGE}


def pipeline_tts(config: dict[str, Any], inputs: dict[str, Array], fill: Fill) -> dict[str, Array]:
    """The whole cascade from tokens and prompt to int16; of the features every 32nd channel."""
    import torch

    from bench.systems.hierspeech.cascade import say, style_of
    from bench.systems.hierspeech.prompt import prompt_rows
    from bench.systems.hierspeech.sequence import given_noise
    from bench.systems.hierspeech.ttv import TTVSettings
    from bench.systems.hierspeech.waveform import to_int16

    ttv, synthesizer, finer = _cascade(config, fill)
    given = {name: torch.from_numpy(value) for name, value in inputs.items()}
    style = style_of(ttv, synthesizer, prompt_rows(given["prompt"]).mel, config["denoise_ratio"])
    noise = given_noise(given["noise_dur"], given["noise_ttv"], given["noise_vc"])
    settings = TTVSettings(config["noise_scale_ttv"], config["noise_scale_w"])
    said = say(ttv, synthesizer, given["tokens"], style, noise, settings, config["noise_scale_vc"])
    return {
        "w2v": said.w2v[:, ::32].numpy(),
        "pitch": said.pitch.numpy(),
        "wav16k": said.wave.numpy(),
        "int16_16k": to_int16(said.wave),
        "int16_sr": to_int16(finer.enhance(said.wave)),
    }


def _cascade(config: dict[str, Any], fill: Fill) -> tuple[TextToVec, Synthesizer, SpeechSr]:
    """Both networks by the fill rule, each with its own gain, and SpeechSR with the official weights."""
    from bench.systems.hierspeech.adapters_synth import official_speechsr
    from bench.systems.hierspeech.speechsr import SpeechSr, SpeechSrConfig
    from bench.systems.hierspeech.synthesizer import Synthesizer, SynthesizerConfig
    from bench.systems.hierspeech.ttv import TextToVec, TTVConfig

    ttv = TextToVec(TTVConfig.from_model_section(config["ttv"]))
    synthesizer = Synthesizer(_settings(SynthesizerConfig, config["synthesizer"]))
    replace(fill, gain=config["ttv_gain"]).apply(ttv)
    replace(fill, gain=config["synthesizer_gain"]).apply(synthesizer)
    rate = int(config["speechsr"]) * 1000
    finer = SpeechSr(SpeechSrConfig(), rate)
    finer.load_state_dict(official_speechsr(rate, fill))
    return ttv.eval(), synthesizer.eval(), finer.eval()


def _settings(kind: type[_Settings], config: dict[str, Any]) -> _Settings:
    """A dataclass with those values of ``config`` that it has names for."""
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: _frozen(value) for name, value in config.items() if name in known})


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _yaapt(config: dict[str, Any], **changes: Any) -> YaaptConfig:
    from bench.systems.hierspeech.yaapt import YaaptConfig

    given = {"nccf_threshold" if name == "nccf_thresh1" else name: value for name, value in config.items()}
    return _settings(YaaptConfig, {**given, **changes})
