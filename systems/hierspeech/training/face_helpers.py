"""Trained networks that a stage of the talking face learns with: its own files, shipped ones or official ones."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from bench.api import DataError, UsageError
from bench.embedded import EMBEDDED, embedded_file
from bench.networks import OFFICIAL
from bench.systems.hierspeech import tiny, weight_files
from bench.systems.hierspeech.face.discriminator import FaceDiscriminator
from bench.systems.hierspeech.face.generator import TTVFace
from bench.systems.hierspeech.training.face_options import CONFIGS
from bench.systems.hierspeech.ttv import TextToVec
from bench.systems.wav2lip.declare import EXPERT
from bench.systems.wav2lip.expert import SyncExpert
from bench.systems.wav2lip.training_options import SIZES
from bench.trained import filled
from bench.weights_file import digest

_Network = TypeVar("_Network", bound=nn.Module)
_SHOWN = 16


def text_to_vec(config: str, file: str | None) -> TextToVec:
    """What reconstructs features.

    Raises:
        UsageError: neither a file nor a shipped or official one.
    """
    if config == "full" and file is None:
        return _official(TextToVec(), "ttv", "ttv")
    network = TextToVec(tiny.TTV if config == "tiny" else None)
    return _trained(network, "hierspeech", "ttv", "ttv", "ttv", file, config)


def expert(config: str, file: str | None) -> SyncExpert:
    """The judge of lips.

    Raises:
        UsageError: neither a file nor a shipped or official one.
    """
    network = SIZES[config].expert()
    if config == "full" and file is None:
        return _official(network, "expert", "sync")
    return _trained(network, "wav2lip", "expert", "expert", "sync", file, config)


def closing(config: str, file: str | None) -> TTVFace:
    """The network that closes lips, stage 0.

    Raises:
        UsageError: neither a file nor a shipped or official one.
    """
    return _face(config, "silent_face", "0", "silent", file)


def first(config: str, file: str | None) -> tuple[TTVFace, FaceDiscriminator]:
    """What stage 1 has made, both players.

    Raises:
        UsageError: neither a file nor a shipped or official one.
    """
    network = _face(config, "face_stage1", "1", "first", file)
    critic = FaceDiscriminator(CONFIGS[config].critic)
    if file is not None:
        return network, filled(critic, Path(file), "discriminator", "first")
    return network, _trained(critic, "hierspeech", "face_stage1_discriminator", "first", "1", None)


def fingerprint(network: nn.Module) -> str:
    """Differs where the numbers do."""
    return digest(network.state_dict())[:_SHOWN]


def _face(config: str, name: str, stage: str, setting: str, file: str | None) -> TTVFace:
    network = TTVFace(CONFIGS[config].sizes)
    if file is not None:
        return filled(network, Path(file), "face", setting)
    return _trained(network, "hierspeech", name, setting, stage, None, config)


def _trained(
    network: _Network, system: str, name: str, setting: str, stage: str, file: str | None, config: str = "tiny"
) -> _Network:
    """``network`` from a training's file; without one, in the tiny configuration, the shipped one."""
    if file is not None:
        return filled(network, Path(file), name, setting)
    train = _TRAIN.format(stage=stage, config=config, setting=setting)
    if config != "tiny":
        raise UsageError(f"--set {setting}=FILE is needed: nobody has published such weights", train)
    try:
        return EMBEDDED.fill(network, embedded_file(system, name, stage))
    except DataError as error:
        raise UsageError(error.message, train) from error


def _official(network: _Network, setting: str, stage: str) -> _Network:
    weight = weight_files.TTV if setting == "ttv" else EXPERT
    try:
        return OFFICIAL.fill(network, weight)
    except DataError as error:
        train = _TRAIN.format(stage=stage, config="full", setting=setting)
        raise UsageError(error.message, f"{error.hint} Or {train}") from error


_TRAIN = "`bench train hierspeech --stage {stage} --config {config}`, then --set {setting}=FOLDER/weights.safetensors."


def still(network: _Network, device: str) -> _Network:
    """On ``device``, in evaluation mode, without gradients."""
    return network.to(torch.device(device)).eval().requires_grad_(False)
