"""The networks of ``talker``: of the official files, of what is shipped, or of one's own training, ready for inference.

Official networks are built on the ``meta`` device and take the files' tensors for their own: 15.8 GB of numbers are
mapped into memory, not copied, and Whisper's text decoder never is one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import nn

from bench.embedded import EMBEDDED
from bench.errors import DataError
from bench.faces.detect import DlibDetector
from bench.nets.weight_norm import fold_weight_norm
from bench.networks import Official
from bench.systems.talker import lia_ops, motion_stats, tiny, weight_files
from bench.systems.talker.face_view import FaceView, Restored, Whole
from bench.systems.talker.front_full import FullFront, FullParts
from bench.systems.talker.front_tiny import TinyFront
from bench.systems.talker.lia import Generator
from bench.systems.talker.lia_sizes import LiaSizes
from bench.systems.talker.mel_vae import MelVAE
from bench.systems.talker.motion_model import MotionModel
from bench.systems.talker.motion_stats import MotionStats
from bench.systems.talker.render import Renderer
from bench.systems.talker.speaker_encoder import SpeakerConfig, SpeakerEncoder
from bench.systems.talker.speech_llm import SpeechLLM, SpeechLLMConfig, complete_tied
from bench.systems.talker.text import Characters, Chat, TextTable
from bench.systems.talker.whisper_mel import WhisperMelConfig
from bench.systems.talker.whisperx_vae import VAEConfig, WhisperXVAE
from bench.trained import filled, regular

if TYPE_CHECKING:
    from bench.faces.detect import Detect
    from bench.networks import WeightSource
    from bench.records import WeightFile

_Module = TypeVar("_Module", bound=nn.Module)
_OF_128 = "motion.generator.dec.conv5_1."  # the stage that only the larger motion autoencoder has


@dataclass(frozen=True)
class TinyFiles:
    """Weights of ``bench train talker``; ``None``: the shipped ones."""

    vae: Path | None = None
    motion: Path | None = None
    joint: Path | None = None

    def identity(self) -> list[str]:
        """What names audio VAE and motion autoencoder. Raises :class:`DataError` where a shipped one is absent."""
        pairs = ((self.vae, "vae", weight_files.TINY_VAE), (self.motion, "motion", weight_files.TINY_MOTION))
        return [EMBEDDED.identity(weight) if path is None else _sha256(path, name) for path, name, weight in pairs]

    def given(self) -> list[Path]:
        """Those that are not shipped."""
        return [path for path in (self.vae, self.motion, self.joint) if path is not None]


@dataclass(frozen=True)
class Drawing:
    """How pictures are looked at and made. ``face``: a square around the face, else the whole picture, squeezed;
    ``restored``: what is made of that gets the picture's own size.

    ``detect`` finds faces in dlib's place.
    """

    face: bool
    batch: int = 8
    detect: Detect | None = None
    restored: bool = True

    def renderer(self, generator: Generator) -> Renderer:
        """``generator`` at work; its weights are folded."""
        whole = Restored() if self.restored else Whole()
        view = FaceView(self.detect or DlibDetector()) if self.face else whole
        return Renderer(lia_ops.folded(generator), view, self.batch)


def tiny_front(files: TinyFiles, device: str, drawing: Drawing = Drawing(face=True)) -> TinyFront:
    """Audio VAE and motion autoencoder of the tiny configuration."""
    vae = _tiny(MelVAE, files.vae, "vae", weight_files.TINY_VAE)
    sizes = tiny.LIA if files.motion is None else _lia_sizes(files.motion)
    motion = _tiny(lambda: MotionModel(sizes), files.motion, "motion", weight_files.TINY_MOTION)
    stats = MotionStats(motion.motion_stats.mean.numpy(), motion.motion_stats.std.numpy())
    return TinyFront(vae.to(device), stats, drawing.renderer(motion.generator.to(device)), motion.head.to(device))


def tiny_llm(files: TinyFiles, device: str) -> SpeechLLM:
    """Backbone and heads of the tiny configuration."""
    return _tiny(lambda: SpeechLLM(tiny.LLM), files.joint, "joint", weight_files.TINY_LLM).to(device)


@dataclass(frozen=True)
class FullSizes:
    """Sizes of the official networks; tests make them smaller. ``front``: rate, hop, channels of a latent, numbers of
    a voice."""

    llm: SpeechLLMConfig = field(default_factory=SpeechLLMConfig)
    vae: VAEConfig = field(default_factory=VAEConfig)
    lia: LiaSizes = field(default_factory=LiaSizes)
    speaker: SpeakerConfig = field(default_factory=SpeakerConfig)
    mel: WhisperMelConfig = field(default_factory=WhisperMelConfig)
    front: tuple[int, int, int, int] = (24_000, 960, 32, 256)
    stats: Callable[[], MotionStats] = motion_stats.official


def full_front(
    source: WeightSource,
    device: str,
    sizes: FullSizes | None = None,
    drawing: Drawing = Drawing(face=False),
) -> FullFront:
    """Audio VAE, motion autoencoder and speaker encoder by the official layout, each made when it is first wanted."""
    sizes = sizes or FullSizes()

    @cache
    def vae() -> WhisperXVAE:
        network = _official(lambda: WhisperXVAE(sizes.vae), weight_files.VAE, source)
        return fold_weight_norm(network).to(device)

    @cache
    def renderer() -> Renderer:
        return drawing.renderer(_official(lambda: Generator(sizes.lia), weight_files.LIA_X, source).to(device))

    @cache
    def speaker() -> SpeakerEncoder:
        return _official(lambda: SpeakerEncoder(sizes.speaker), weight_files.SPEAKER, source).to(device)

    return FullFront(FullParts(vae, renderer, speaker), sizes.stats(), sizes.mel, sizes.front)


def full_llm(
    source: WeightSource, device: str, sizes: FullSizes | None = None, backbone: str = "bfloat16"
) -> SpeechLLM:
    """Backbone and heads by the official layout; heads are float32 whatever the ``backbone`` is."""
    config = (sizes or FullSizes()).llm
    model = _official(lambda: SpeechLLM(config), weight_files.SPEECH_LLM, source).float()
    model.llm.to(getattr(torch, backbone))
    return model.to(device)


def text_table(config: str) -> TextTable:
    """How configuration ``tiny`` or ``full`` reads text. Raises :class:`DataError` without the tokenizer."""
    from bench.weights import here

    return Characters() if config == "tiny" else Chat(here(weight_files.TOKENIZER))


def _tiny(make: Callable[[], _Module], path: Path | None, part: str, weight: WeightFile) -> _Module:
    return EMBEDDED.fill(make(), weight) if path is None else filled(make(), path, part, part)


def _official(make: Callable[[], _Module], weight: WeightFile, source: WeightSource) -> _Module:
    """Filled and still. The user's files are mapped; other sources fill an ordinary network.

    Raises:
        DataError: the file is not here, or does not fit.
    """
    if not isinstance(source, Official):
        return source.fill(make(), weight)
    with torch.device("meta"):
        network = make()
    tensors = mapped(weight)
    if isinstance(network, SpeechLLM):
        tensors = complete_tied(tensors)
    try:
        if isinstance(network, SpeechLLM):
            network.adopt(tensors)
        else:
            network.load_state_dict(tensors, strict=True, assign=True)
    except RuntimeError as error:
        raise DataError(f"weights {weight.name} do not fit the network: {error}", _DEFECT) from error
    empty = [name for name, held in _held(network) if held.is_meta]
    if empty:
        raise DataError(f"weights {weight.name} leave {', '.join(empty[:3])} without numbers", _DEFECT)
    return network.eval().requires_grad_(False)


_DEFECT = "the manifest and the network disagree: a defect of the system's plug-in."


def mapped(weight: WeightFile) -> dict[str, torch.Tensor]:
    """The tensors of a file that the user has added, mapped into memory; names, shapes and types are checked.

    Their numbers are not hashed at every start: `bench weights verify` does.
    """
    from bench.weights import here
    from bench.weights_file import check_header, load_any

    path = here(weight)
    check_header(weight, path)
    return load_any(path)


def _held(network: nn.Module) -> list[tuple[str, torch.Tensor]]:
    return [*network.named_parameters(), *network.named_buffers()]


def _lia_sizes(path: Path) -> LiaSizes:
    from bench.weights_file import read_header

    names = read_header(regular(path, "motion")).tensors
    return tiny.LIA if any(name.startswith(_OF_128) for name in names) else tiny.LIA64


def _sha256(path: Path, setting: str) -> str:
    from bench.weights import sha256

    return sha256(regular(path, setting))
