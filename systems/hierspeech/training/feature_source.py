"""Which features a training learns from: the shipped ones, those of a file, or in full size MMS's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from bench.api import DataError, UsageError
from bench.systems.hierspeech import tiny, w2v
from bench.systems.hierspeech.standard_features import StandardFeatures

if TYPE_CHECKING:
    from bench.train_request import TrainRequest

SIZES = {"full": int(w2v.MMS_300M["hidden_size"]), "tiny": tiny.FEATURES}
_DIGITS = 12
_TRAIN_THEM = (
    "`bench train hierspeech --stage features --config tiny --dataset demo --steps 800`, "
    "then --set features=FOLDER/weights.safetensors."
)


class FeatureSource:
    """Features of audio; the network is made when the first clip needs it.

    ``identity`` names its weights; ``size`` is D; ``make`` gives a network ``(B, L)`` to ``(B, D, T)`` for inference.
    """

    def __init__(self, identity: str, size: int, make: Callable[[], nn.Module]) -> None:
        self.identity, self.size = identity, size
        self._make = make
        self._network: nn.Module | None = None

    @torch.no_grad()
    def of(self, audio: torch.Tensor) -> torch.Tensor:
        """Features ``(D, T)`` on the CPU, of audio ``(L,)`` at 16 kHz without padding; T is a multiple of 4."""
        if self._network is None:
            self._network = self._make().eval().requires_grad_(False)
        device = next(self._network.parameters()).device
        features: torch.Tensor = self._network(audio[None].to(device))[0]
        return features.float().cpu()


def feature_source(request: TrainRequest, file: str | None = None) -> FeatureSource:
    """What a request's configuration learns from. ``file``: weights of the stage ``features``, tiny only.

    Raises:
        UsageError: there is no such file, or nothing is shipped (MMS is not here), with what to do.
    """
    if request.config == "full":
        return _mms(request.device, file)
    if file is not None:
        return _trained(Path(file), request.device)
    from bench.embedded import EMBEDDED, embedded_file

    shipped = embedded_file("hierspeech", "features", "features")
    try:
        identity = EMBEDDED.identity(shipped)
    except DataError as error:
        raise UsageError(f"the training needs features: {error.message}", _TRAIN_THEM) from error
    return FeatureSource(
        f"tiny-{identity}", tiny.FEATURES, lambda: EMBEDDED.fill(StandardFeatures(), shipped).to(request.device)
    )


def _trained(path: Path, device: str) -> FeatureSource:
    from bench.trained import filled
    from bench.weights_file import digest

    network = filled(StandardFeatures(), path, "features", "features")
    return FeatureSource(f"tiny-{digest(network.state_dict())[:_DIGITS]}", tiny.FEATURES, lambda: network.to(device))


def _mms(device: str, file: str | None) -> FeatureSource:
    from bench.networks import OFFICIAL
    from bench.weights import here

    if file is not None:
        raise UsageError("--set features: the features of configuration full are those of MMS", "train --config tiny.")
    weight = w2v.WEIGHTS
    try:
        path, identity = here(weight), OFFICIAL.identity(weight)
    except DataError as error:
        raise UsageError(f"the training needs features: {error.message}", error.hint) from error
    return FeatureSource(f"mms-{identity[:_DIGITS]}", SIZES["full"], lambda: w2v.load(path, device))
