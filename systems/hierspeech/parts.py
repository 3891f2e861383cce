"""The networks of ``hierspeech``, each built and filled when it is first wanted, ready for inference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import nn

from bench.nets.weight_norm import fold_weight_norm
from bench.networks import Official
from bench.systems.hierspeech import denoiser, mel, tiny, w2v, weight_files
from bench.systems.hierspeech.face.blocks import folded
from bench.systems.hierspeech.face.generator import TTVFace, TTVFaceSizes
from bench.systems.hierspeech.requirements import CANONICAL, Files
from bench.systems.hierspeech.speechsr import SpeechSr, SpeechSrConfig
from bench.systems.hierspeech.standard_features import StandardFeatures
from bench.systems.hierspeech.synthesizer import TRAINING_PARTS, Synthesizer, SynthesizerConfig
from bench.systems.hierspeech.ttv import TextToVec, TTVConfig

if TYPE_CHECKING:
    from bench.networks import WeightSource
    from bench.records import WeightFile

_Module = TypeVar("_Module", bound=nn.Module)
_TTV_TRAINING_PARTS = ("enc_q", "phoneme_classifier")


@dataclass(frozen=True)
class Sizes:
    """Sizes of all networks; the defaults are the published ones. ``standard``: features as
    :class:`.standard_features.StandardFeatures` makes them, of whose sizes there is one. ``whole_synthesizer``: its
    file has also what only the official training needs."""

    ttv: TTVConfig = field(default_factory=TTVConfig)
    synthesizer: SynthesizerConfig = field(default_factory=SynthesizerConfig)
    speechsr: SpeechSrConfig = field(default_factory=SpeechSrConfig)
    denoiser: denoiser.DenoiserConfig = field(default_factory=denoiser.DenoiserConfig)
    mel: mel.MelConfig = mel.DEFAULT
    mms: Mapping[str, Any] = field(default_factory=lambda: w2v.MMS_300M)
    mms_layer: int = w2v.LAYER
    face: TTVFaceSizes = field(default_factory=TTVFaceSizes)
    standard: bool = False
    whole_synthesizer: bool = True


#: The networks of tier embedded.
TINY = Sizes(ttv=tiny.TTV, synthesizer=tiny.SYNTHESIZER, face=tiny.FACE, standard=True, whole_synthesizer=False)


class Networks:
    """Everything lies on ``device``. Speech and features are float32; the faces alone are made in ``dtype``.

    A rounded duration or feature would change the speech; TF32 would too, so it is switched off.
    """

    def __init__(self, source: WeightSource, sizes: Sizes, device: str, dtype: str, files: Files = CANONICAL) -> None:
        if device.startswith("cuda"):
            torch.backends.cuda.matmul.allow_tf32 = False
            torch.backends.cudnn.allow_tf32 = False
        self.source = source
        self.sizes = sizes
        self.files = files
        self.device = torch.device(device)
        self.dtype: torch.dtype = getattr(torch, dtype)
        self._finer: dict[int, SpeechSr] = {}

    @cached_property
    def ttv(self) -> TextToVec:
        """Text-to-vec without what only training needs."""
        network = self._filled(lambda: TextToVec(self.sizes.ttv), self.files.ttv)
        return fold_weight_norm(_without(network, _TTV_TRAINING_PARTS))

    @cached_property
    def synthesizer(self) -> Synthesizer:
        """The synthesizer without what only training needs."""
        sizes = self.sizes
        network = self._filled(lambda: Synthesizer(sizes.synthesizer, sizes.whole_synthesizer), self.files.synthesizer)
        return fold_weight_norm(_without(network, TRAINING_PARTS))

    @cached_property
    def denoiser(self) -> denoiser.Denoiser:
        """The denoiser of references."""
        return self._filled(lambda: denoiser.Denoiser(self.sizes.denoiser), weight_files.DENOISER)

    @cached_property
    def mms(self) -> w2v.Wav2VecFeatures:
        """wav2vec 2.0, as far as its seventh layer, or what stands in for it."""
        if self.sizes.standard:
            return self._filled(StandardFeatures, self.files.features)
        if isinstance(self.source, Official):
            from bench.weights import here

            return w2v.load(here(self.files.features), str(self.device), self.sizes.mms)
        return self._filled(lambda: w2v.Wav2VecFeatures(self.sizes.mms, self.sizes.mms_layer), self.files.features)

    @cached_property
    def face(self) -> TTVFace:
        """The talking face, its normalisations folded, in ``dtype``."""
        return self._face(self.files.face)

    @cached_property
    def silent_face(self) -> TTVFace:
        """The network that closes lips."""
        return self._face(self.files.silent_face)

    def finer(self, rate: int) -> SpeechSr:
        """SpeechSR to ``rate``, 24000 or 48000 Hz."""
        if rate not in self._finer:
            made = self._filled(lambda: SpeechSr(self.sizes.speechsr, rate), weight_files.SPEECHSR[rate])
            self._finer[rate] = fold_weight_norm(made)
        return self._finer[rate]

    def _face(self, weight: WeightFile) -> TTVFace:
        network = folded(self._filled(lambda: TTVFace(self.sizes.face), weight))
        return network.to(self.dtype)

    def _filled(self, make: Callable[[], _Module], weight: WeightFile) -> _Module:
        return self.source.fill(make(), weight).to(self.device)


def _without(network: _Module, parts: tuple[str, ...]) -> _Module:
    for part in parts:
        if hasattr(network, part):  # the null style is there only where there is one
            delattr(network, part)
    return network
