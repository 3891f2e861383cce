"""Golden cases of component ``talker`` that concern the joint model: its training forward and its generation.

See :mod:`bench.conformance` for what an adapter gets and returns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from bench.systems.talker.flow_matching import Draws
from bench.systems.talker.generate import Generator, Made
from bench.systems.talker.jobs import Job, Noise, Planner, Reference, Settings
from bench.systems.talker.layout import Accounting, account, patches_in
from bench.systems.talker.speech_llm import SpeechLLM, SpeechLLMConfig
from bench.systems.talker.teacher import Pairs, TeacherBatch, joint_losses

if TYPE_CHECKING:
    from bench.conformance import Fill
    from bench.records import Array

    Inputs = dict[str, Array]
    Outputs = dict[str, Array]

_THIS = "bench.systems.talker.adapters_llm"
OPS: dict[str, str] = {
    op: f"{_THIS}:{op}" for op in ("accounting", "speechllm_train", "t2av", "tts_generate", "a2v", "v2a")
}
#: How many columns of the states the recorded pair lists keep.
_COLUMNS = 6


def _tensors(inputs: Inputs) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in inputs.items()}


def _arrays(outputs: Mapping[str, Tensor]) -> Outputs:
    return {name: value.detach().float().numpy() for name, value in outputs.items()}


def _model(config: dict[str, Any], fill: Fill) -> SpeechLLM:
    made: SpeechLLM = fill.apply(SpeechLLM(SpeechLLMConfig.from_mapping(config))).eval().requires_grad_(False)
    return made


def accounting(config: dict[str, Any], inputs: Inputs, fill: Fill) -> Outputs:
    """Counts of the official loop, one column for each reference."""
    columns = zip(
        *(inputs[name].tolist() for name in ("speech_len", "motion_rows", "prefix_centiseconds", "delay")), strict=True
    )
    fixed = {name: config[name] for name in ("patch_size", "fps", "max_frames", "margin", "placeholder_delay")}
    made = [account(speech, rows, prefix / 100, delay=delay, **fixed) for speech, rows, prefix, delay in columns]
    return {name: np.array([getattr(one, name) for one in made]) for name in Accounting.__slots__}


def _draws(t: dict[str, Tensor], head: str) -> Draws:
    """The recorded draws; those without effect are not recorded, and given as zeros."""
    none = torch.zeros(())
    keys = {"mu_drop": "u_mu_drop", "cond_drop": "u_cond_drop", "t": "n_t", "z": "z"}
    given = {name: t[f"{head}.{key}"] for name, key in keys.items()}
    return Draws(**given, cond_noise_share=none, cond_noise=none, r=none, r_mask=none)


def speechllm_train(config: dict[str, Any], inputs: Inputs, fill: Fill) -> Outputs:
    """The training forward in evaluation mode: states, pair lists, losses."""
    t = _tensors(inputs)
    batch = TeacherBatch(
        input_ids=t["input_ids"],
        attention_mask=t["attention_mask"].bool(),
        speech_span=t["speech_span"],
        speech=t["speech_latent"],
        speech_len=t["mel_len"],
        motion=t["motion"],
        motion_len=t["motion_len"],
        speaker=t["speaker_emb"],
        task=t.get("task_tag"),
    )
    model = _model(config, fill)
    out = model.teacher(batch)
    repeats, weight = config["cfm_k_repeat"], config["motion_cfm_weight"]
    losses = joint_losses(
        model, out, _draws(t, "speech_cfm"), _draws(t, "motion_cfm"), repeats=repeats, motion_weight=weight
    )
    made = {
        "inputs_embeds": out.inputs_embeds,
        "hidden": out.hidden,
        "stop_logits": out.stop_logits,
        "stop_loss": losses.stop,
        "total": losses.total,
        "speech_cfm.loss": losses.speech,
        "motion_cfm.loss": losses.motion,
    }
    for head, pairs in (("speech_cfm", out.speech), ("motion_cfm", out.motion)):
        made |= _recorded(head, pairs.repeated(repeats))
    return _arrays(made)


def _recorded(head: str, pairs: Pairs) -> dict[str, Tensor]:
    found = {
        "rows": torch.tensor(len(pairs)),
        "x1": pairs.target,
        "cond": pairs.cond,
        "mu_first_columns": pairs.mu[:, :_COLUMNS],
    }
    return {f"{head}.{name}": value for name, value in found.items()}


#: Settings of the generators in the classes where a case has none: margin in patches, first patch asked about.
_IN_CLASS = {"generate_speech": (25, 6), "generate_speech_motion": (15, 7)}


def _settings(config: dict[str, Any], **others: Any) -> Settings:
    names = {"steps": "cfm_steps", "temperature": "cfm_temperature", "cfg": "cfm_cfg", "min_patches": "min_gen_patches"}
    plain = ("sway", "zero_star", "stop_k", "stop_threshold", "use_stop", "prefix_seconds", "margin", "task_token")
    given = {ours: config[theirs] for ours, theirs in names.items() if theirs in config}
    return Settings(**{**others, **given, **{name: config[name] for name in plain if name in config}})


def _made(model: SpeechLLM, settings: Settings, job: Job) -> Made:
    """One row alone."""
    return next(iter(Generator(model, settings, slots=1, record=True).run([job])))


def t2av(config: dict[str, Any], inputs: Inputs, fill: Fill) -> Outputs:
    """The official script's loop, or the class's own generator where the case names that."""
    if "function" in config:
        return _in_class(config, inputs, fill)
    t, model, settings = _tensors(inputs), _model(config, fill), _settings(config)
    planner = Planner(model.config, settings)
    counts = planner.counts(t["speech_latent"].shape[1], len(t["motion_raw"]))
    raw = t["motion_raw"][: counts.motion_len].float()
    normal = (raw - t["motion_mean"]) / t["motion_std"]
    latents = t["speech_latent"][0]
    reference = Reference(latents, normal, t["speaker_emb"][0])
    noise = Noise(t["noise_speech"], t["noise_motion"])
    job = planner.plan("t2av", t["input_ids"][0, : int(t["s0"])], reference, noise)
    made = _made(model, settings, job)
    motion, speech = _both(made)
    whole = torch.cat((job.speech, speech))
    out = {
        "motion": torch.cat((raw[: counts.prefix_frames], motion * t["motion_std"] + t["motion_mean"])),
        "speech_latent_full": whole[None],
        "speech_generated": speech,
        "n_patches": torch.tensor(made.patches),
        "h": _recorded_states(made),
        "stop_logits": _asked(made, settings),
    }
    return _arrays(out)


def _both(made: Made) -> tuple[Tensor, Tensor]:
    """Motion and speech of a row that made both."""
    if made.motion is None or made.speech is None:
        raise ValueError("the row made one stream only")
    return made.motion, made.speech


def _recorded_states(made: Made) -> Tensor:
    if made.states is None:
        raise ValueError("the generator did not record")
    return made.states


def _asked(made: Made, settings: Settings) -> Tensor:
    """The stop logits in the order in which they were asked for."""
    if made.logits is None:
        raise ValueError("the generator did not record")
    return made.logits[settings.min_patches : made.patches + (1 if made.stopped else 0)]


def _in_class(config: dict[str, Any], inputs: Inputs, fill: Fill) -> Outputs:
    """The generators in the class: task embedding first, prefix of speech alone."""
    t, model = _tensors(inputs), _model(config, fill)
    both = config["function"] == "generate_speech_motion"
    margin, first = _IN_CLASS[config["function"]]
    settings = _settings(config, task_token="prepend", margin=margin, min_patches=first, round_motion=False)
    latents, size = t["speech_latent"][0], model.config.patch_size
    prefix = min(len(latents), max(0, round(settings.prefix_seconds * model.config.fps)))
    prefix = prefix // size * size if both else prefix
    known = patches_in(prefix, size)
    motion = t["first_motion"] if both else torch.zeros(model.config.motion_dim)
    job = Job(
        ids=t["input_ids"][0, : int(t["s0"])],
        task="t2av" if both else "tts",
        known_slots=known,
        speech=latents[:prefix],
        motion=None,
        speaker=t["speaker_emb"][0],
        first_motion=motion,
        steps=patches_in(int(t["mel_len"]), size) - known + settings.margin,
        noise=Noise(t["noise_speech"], t.get("noise_motion")),
    )
    made = _made(model, settings, job)
    speech = made.speech if made.speech is not None else latents[:0]
    full = torch.cat((latents[:prefix], speech))[None]
    last = full if made.motion is None else made.motion[None]
    return _arrays({"full": full, "last": last, "n_patches": torch.tensor(made.patches)})


def tts_generate(config: dict[str, Any], inputs: Inputs, fill: Fill) -> Outputs:
    """Speech alone by the class's generator."""
    return _in_class(config, inputs, fill)


def a2v(config: dict[str, Any], inputs: Inputs, fill: Fill) -> Outputs:
    """Motion to known speech."""
    return _other_stream(config, inputs, fill)


def v2a(config: dict[str, Any], inputs: Inputs, fill: Fill) -> Outputs:
    """Speech to known motion."""
    return _other_stream(config, inputs, fill)


def _other_stream(config: dict[str, Any], inputs: Inputs, fill: Fill) -> Outputs:
    t, model = _tensors(inputs), _model(config, fill)
    task, known, told = config["mode"], t["known"][0], t["global_cond"][0]
    settings = _settings(config, use_stop=False, prefix_seconds=0.0, round_motion=False)
    sizes = model.config
    if task == "a2v":
        reference = Reference(known, known.new_zeros(0, sizes.motion_dim), torch.zeros(sizes.speaker_dim), told)
        noise = Noise(None, t["noise"])
    else:
        reference = Reference(known.new_zeros(0, sizes.speech_dim), known, told, torch.zeros(sizes.motion_dim))
        noise = Noise(t["noise"], None)
    job = Planner(sizes, settings).plan(task, t["input_ids"][0], reference, noise)
    made = _made(model, settings, job)
    generated = made.motion if made.speech is None else made.speech
    slots = patches_in(len(known), sizes.patch_size)
    out = {
        "h": _recorded_states(made),
        "known_tokens": model.stream_tokens(known, slots, 0, motion=task == "v2a")[None],
    }
    if generated is not None:
        out["generated"] = generated[None]
    return _arrays(out)
