"""The networks of ``hicodit``: shipped, of one's own training, or of official files, ready for inference.

A model knows which codec its tokens are of, by name and by the hash of its codebooks, and is not used with another.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from bench.embedded import EMBEDDED
from bench.errors import DataError, UsageError
from bench.networks import OFFICIAL
from bench.systems.hicodit import weight_files
from bench.systems.hicodit.codec.mel_rvq import MelRvq, MelRvqCodec
from bench.systems.hicodit.extract import FullExtractor, TinyExtractor
from bench.systems.hicodit.fronts import FullFront, TinyFront
from bench.systems.hicodit.joined import Joined
from bench.systems.hicodit.sizes import Sizes
from bench.trained import filled, regular

if TYPE_CHECKING:
    from bench.api import Tier
    from bench.metrics.speaker_net import VoiceEncoder
    from bench.systems.hicodit.codec import Codec
    from bench.systems.hicodit.emotion import EmotionExtractor
    from bench.systems.hicodit.expression import TinyExpression
    from bench.systems.hicodit.front import Front
    from bench.systems.hicodit.model import HiCoDiT
    from bench.systems.hicodit.options import CodecName, HiCoDiTOptions
    from bench.systems.hicodit.training.makers import Listeners

_NETWORK, _CODEC, _EXPRESSION = "hicodit", "codec", "expression"
_FOLDER = "hicodit-conditions"


@dataclass(frozen=True)
class Parts:
    """Conditioners, model and codec, of one configuration and on one device."""

    front: Front
    model: HiCoDiT
    codec: Codec


def parts_of(options: HiCoDiTOptions, tier: Tier, device: str) -> Parts:
    """What the settings name, or the tier has.

    Raises:
        UsageError, DataError: a file is not here, does not fit, or is of another codec.
    """
    small = tier == "embedded"
    joined = joined_of(_given(options.dit), device, small=small)
    path = _given(options.codec_file)
    codec = tiny_codec(path, device) if small else full_codec(path, device, options.codec)
    check_codec(codec, _facts(_given(options.dit)))
    emotion = emotion_of(options, device)
    front: Front
    if small:
        front = TinyFront(joined, TinyExtractor(emotion), _kept())
    else:
        front = FullFront(full_extractor(device, emotion), _encoder(device), _kept())
    return Parts(front, joined.dit, codec)


def joined_of(path: Path | None, device: str, *, small: bool) -> Joined:
    """The model, with the lip reader where it is the small one; ``None``: the shipped one.

    Raises:
        UsageError, DataError: no such file, or one of something else.
    """
    sizes = _sizes(_facts(path), path)
    joined = Joined(sizes, front=small)
    if path is None:
        return EMBEDDED.fill(joined, weight_files.TINY).to(device)
    return filled(joined, path, _NETWORK, "dit").to(device)


def tiny_codec(path: Path | None, device: str) -> Codec:
    """The codec of the tiny configuration; ``None``: the shipped one. Raises :class:`DataError` where it is absent."""
    network = MelRvq()
    if path is None:
        return MelRvqCodec(EMBEDDED.fill(network, weight_files.TINY_CODEC).to(device))
    return MelRvqCodec(filled(network, path, _CODEC, "codec_file").to(device))


def full_codec(path: Path | None, device: str, name: CodecName = "dac_16k") -> Codec:
    """A codec of full size; ``None``: its official file. Raises :class:`DataError` where it is absent."""
    from bench.systems.hicodit.codec.dac import Dac, DacCodec
    from bench.systems.hicodit.codec.maskgct import MaskgctCodec, MaskgctDecoder

    if name == "maskgct":
        if path is not None:
            raise UsageError("codec=maskgct: its published file alone is used", "leave codec_file.")
        return MaskgctCodec(OFFICIAL.fill(MaskgctDecoder(), weight_files.MASKGCT_DECODER).to(device))
    if path is not None:
        return DacCodec(filled(Dac(), path, _CODEC, "codec_file").to(device))
    return DacCodec(OFFICIAL.fill(Dac(), weight_files.DAC).to(device))


def full_listeners(device: str) -> Listeners:
    """What training in full size hears and sees with. Raises :class:`DataError` where a file is absent."""
    from bench.systems.hicodit.identity import voice_identity
    from bench.systems.hicodit.training.makers import Listeners

    encoder = _encoder(device)
    return Listeners(full_extractor(device), lambda audio: voice_identity(encoder(), audio))


def full_extractor(device: str, emotion: EmotionExtractor | None = None) -> FullExtractor:
    """AV-HuBERT and ArcFace by their official files. Raises :class:`DataError` where one is absent."""
    from bench.metrics.csim.arcface import iresnet
    from bench.systems.hicodit.avhubert import AvHubertVisual, LipReader

    reader = LipReader(OFFICIAL.fill(AvHubertVisual(), weight_files.AV_HUBERT).to(device))
    told = "-".join(OFFICIAL.identity(file) for file in (weight_files.AV_HUBERT, weight_files.ARCFACE))
    return FullExtractor(reader, iresnet(OFFICIAL, device), told, emotion)


def emotion_of(options: HiCoDiTOptions, device: str) -> EmotionExtractor | None:
    """Who tells expressions; ``None``: nobody, they are neutral.

    Raises:
        UsageError, DataError: a file is not here or does not fit.
    """
    path = _given(options.emotion_file)
    if options.emotion == "tiny":
        return tiny_expression(path, device)
    if path is None:
        return None
    from bench.systems.hicodit.emotion import Poster2

    return Poster2(regular(path, "emotion_file"), device)


def tiny_expression(path: Path | None, device: str) -> TinyExpression:
    """The small classifier of expressions; ``None``: the shipped one."""
    from bench.systems.hicodit.expression import ExpressionNet, TinyExpression
    from bench.weights import sha256

    network = ExpressionNet()
    if path is None:
        told = EMBEDDED.identity(weight_files.TINY_EXPRESSION)
        return TinyExpression(EMBEDDED.fill(network, weight_files.TINY_EXPRESSION), told, device)
    return TinyExpression(filled(network, path, _EXPRESSION, "emotion_file"), sha256(path)[:12], device)


def check_codec(codec: Codec, facts: Mapping[str, str]) -> None:
    """Raises :class:`UsageError` where a model's header ``facts`` tell of another codec than ``codec``."""
    name, books = facts.get("codec"), facts.get("codebooks")
    if name != codec.name:
        raise UsageError(f"the model was trained on tokens of {name}, not of {codec.name}", "set the codec it is of.")
    if books != codec.hash():
        raise UsageError(
            f"the model was trained on tokens of a {name} with other codebooks",
            "give the codec_file that it was trained with, or train it anew on this one.",
        )


def _facts(path: Path | None) -> Mapping[str, str]:
    from bench.embedded import facts
    from bench.weights import here

    return facts(here(weight_files.TINY) if path is None else regular(path, "dit"))


def _sizes(facts: Mapping[str, str], path: Path | None) -> Sizes:
    """The sizes that a file's header tells. Raises :class:`DataError` where it tells none."""
    try:
        return Sizes(**json.loads(facts["sizes"]))
    except (KeyError, TypeError, ValueError, UsageError) as error:
        told = weight_files.TINY.name if path is None else str(path)
        raise DataError(
            f"{told} does not say what size its model has: {error}",
            "give the weights.safetensors of `bench train hicodit --stage dit`.",
        ) from error


def _encoder(device: str) -> Callable[[], VoiceEncoder]:
    """GE2E, loaded when it is first asked for."""
    from bench.metrics.secs import load_encoder

    return cache(lambda: load_encoder(device))


def _given(path: str | None) -> Path | None:
    return None if path is None else Path(path)


def _kept() -> Path:
    """Where conditions are kept from run to run."""
    from bench.planning import cache_folder

    return cache_folder() / _FOLDER
