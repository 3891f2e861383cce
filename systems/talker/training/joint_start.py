"""The weights that joint training begins with: fresh ones, the official file's, or those of a related checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from bench.api import DataError, UsageError
from bench.systems.talker.speech_llm import SpeechLLM, complete_tied
from bench.systems.talker.training.joint_options import Recipe
from bench.systems.talker.weight_files import SPEECH_LLM
from bench.weights import tensors
from bench.weights_file import digest, load_any

FRESH = "fresh"
_OWN = "joint."  # before the names in what this stage has made
_TTS_PATCHES = "patch_encoder."  # how names of the text-to-speech model begin, and no others
_RENAMED = {".spk_proj.": ".global_cond_proj.", ".first_motion_proj.": ".global_cond_proj."}
_DIGITS = 12


def started(recipe: Recipe, config: str, start: str | None, seed: int) -> tuple[SpeechLLM, str]:
    """The network, and what names the weights that it begins with.

    Raises:
        UsageError: the official file, or the one that is named, is not here or does not fit.
    """
    model = fresh(recipe, seed)
    if start is None and config == "full":
        return _official(model)
    if start is None or start == FRESH:
        return model, FRESH
    path = Path(start)
    if not path.is_file():
        raise UsageError(f"--set start={start}: no such file", f"give a file of tensors, or {FRESH!r}.")
    found = load_any(path)
    if not take(model, found):
        raise UsageError(f"--set start={start}: none of its tensors is one of the joint model's", "")
    return model, digest(found)[:_DIGITS]


def fresh(recipe: Recipe, seed: int) -> SpeechLLM:
    """Random weights: linear layers as torch makes them, small embeddings; class tokens and padding are zeros."""
    torch.manual_seed(seed)
    model = SpeechLLM(recipe.sizes)
    for embedding in (model.llm.model.embed_tokens, model.task_embedding):
        torch.nn.init.normal_(embedding.weight, std=recipe.embedding_deviation)
    return model


def take(model: SpeechLLM, found: Mapping[str, Tensor]) -> int:
    """Copy what agrees in name and shape; how many tensors that were. Names of related models are translated."""
    if any(name.startswith(_OWN) for name in found):
        found = {name.removeprefix(_OWN): tensor for name, tensor in found.items() if name.startswith(_OWN)}
    own = complete_tied({_name(name, found): tensor for name, tensor in found.items()})
    state = model.state_dict()
    fitting = {name: t for name, t in own.items() if name in state and t.shape == state[name].shape}
    model.load_state_dict(fitting, strict=False)
    return len(fitting)


def _name(name: str, found: Mapping[str, Tensor]) -> str:
    """What the joint model calls a tensor of a file with the names of ``found``."""
    for old, new in _RENAMED.items():
        name = name.replace(old, new)
    if name.startswith(("model.", "lm_head.")):  # the language model alone
        return f"llm.{name}"
    if not any(other.startswith(_TTS_PATCHES) for other in found):
        return name
    if name.startswith("motion_cfm."):  # the text-to-speech model's only head is that of speech
        return name.replace("motion_cfm.", "speech_cfm.", 1)
    if name.startswith(_TTS_PATCHES):
        return "speech_" + name.replace(".in_proj.", ".input_proj.", 1)
    return name


def _official(model: SpeechLLM) -> tuple[SpeechLLM, str]:
    try:
        found = tensors(SPEECH_LLM)
    except DataError as error:
        raise UsageError(
            f"training goes on from the official weights: {error.message}",
            f"{error.hint} Or begin anew: --set start={FRESH}, or with a language model's: --set start=FILE.",
        ) from error
    model.load_state_dict(complete_tied(found, model.config.backbone.tie_word_embeddings))
    return model, f"official-{digest(found)[:_DIGITS]}"
