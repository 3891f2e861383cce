"""Training of the talking face in three stages (shared-latent paper, 2.2; PLGAN, arXiv 2307.09368; tfg.md 2.5).

"0": a network of the same class that closes lips: likeness alone, frozen afterwards, its speech digital silence.
"1": the talking face on features of real audio, judged by the lip-sync expert (stabilised loss). "2": goes on from
stage 1, both players, on features that text-to-vec has reconstructed, with a little of the plain sync loss, or without.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import torch
from torch import nn

from bench.api import UsageError
from bench.systems.hierspeech.face.discriminator import FaceDiscriminator
from bench.systems.hierspeech.face.generator import TTVFace
from bench.systems.hierspeech.face.losses import adaptive_triplet, lip_embedding, stabilized_sync
from bench.systems.hierspeech.face.perceptual import PerceptualLoss
from bench.systems.hierspeech.face.windows import VECTORS_PER_FRAME
from bench.systems.hierspeech.training import face_helpers as helpers
from bench.systems.hierspeech.training.face_data import FaceWindows
from bench.systems.hierspeech.training.face_options import (
    DRAWN_BELOW,
    TRIPLET,
    VANILLA_SYNC,
    ClosingOptions,
    FirstOptions,
    SecondOptions,
)
from bench.systems.hierspeech.training.face_speech import RATE, RealSpeech, ReconstructedSpeech
from bench.systems.hierspeech.training.face_stage import FaceStage, Hears
from bench.systems.hierspeech.training.feature_source import feature_source
from bench.systems.wav2lip.expert import FRAMES, SyncExpert
from bench.systems.wav2lip.losses import cosine, cross_entropy
from bench.train import Stage
from bench.train_request import TrainRequest


def closing(request: TrainRequest) -> Stage:
    """Stage "0"."""
    options = request.options(ClosingOptions)
    real = _real(request, options)
    return ClosingStage(request, options, Hears(real, None), real)


def first(request: TrainRequest) -> Stage:
    """Stage "1".

    Raises:
        UsageError: a network that it learns with is not here.
    """
    options = request.options(FirstOptions)
    judge = helpers.expert(request.config, options.expert)
    return FirstStage(request, options, Hears(_real(request, options), _closer(request, options.silent)), judge)


def second(request: TrainRequest) -> Stage:
    """Stage "2".

    Raises:
        UsageError: as :func:`first`.
    """
    options = request.options(SecondOptions)
    players = helpers.first(request.config, options.first)
    judge = helpers.expert(request.config, options.expert) if options.sync == "vanilla" else None
    ttv = helpers.text_to_vec(request.config, options.ttv)
    folder = request.folder / "speech"
    speech = ReconstructedSpeech(_real(request, options), ttv, folder, request.seed, request.device)
    return SecondStage(request, options, Hears(speech, _closer(request, options.silent)), judge, players)


class Ramp(nn.Module):
    """Since which step the sync loss counts (-1: not yet); kept in the checkpoint."""

    since: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("since", torch.full((), -1, dtype=torch.int64))


class ClosingStage(FaceStage):
    """A talking face without an opinion on lips, which says digital silence afterwards."""

    name = "hierspeech-face-0"

    def __init__(self, request: TrainRequest, options: ClosingOptions, hears: Hears, real: RealSpeech) -> None:
        super().__init__(request, options, hears)
        silence = real.heard(np.zeros(RATE, np.float32))  # (T, D)
        window = self._config.sizes.window
        middle = (len(silence) - window) // VECTORS_PER_FRAME
        self._face.silence.copy_(torch.from_numpy(silence[middle : middle + window]))


class _JudgedStage(FaceStage):
    """A stage with the lip-sync expert's opinion, where it has one."""

    def __init__(
        self, request: TrainRequest, options: FirstOptions | SecondOptions, hears: Hears, judge: SyncExpert | None
    ) -> None:
        super().__init__(request, options, hears)
        self._judge = judge
        if hears.closes is not None:
            self._told["silent"] = helpers.fingerprint(hears.closes)
        self._told["expert"] = helpers.fingerprint(judge) if judge is not None else None

    def begin(self, step: int) -> None:
        """See :meth:`FaceStage.begin`."""
        if self._judge is not None:
            helpers.still(self._judge, str(self._device()))
        super().begin(step)

    def _agreement(self, judge: SyncExpert, batch: FaceWindows, faces: torch.Tensor) -> torch.Tensor:
        """Cosines (B,) of the speech with the lips of faces (B, 5, 3, S, S)."""
        return cosine(judge.embed_audio(batch.mel).float(), lip_embedding(judge, faces.transpose(1, 2)).float())

    def _judged(self, batch: FaceWindows, made: torch.Tensor) -> dict[str, torch.Tensor]:
        found = super()._judged(batch, made)
        if self._judge is not None:
            found["agreement"] = self._agreement(self._judge, batch, made).mean()
            found["true_agreement"] = self._agreement(self._judge, batch, batch.true).mean()
        return found


class FirstStage(_JudgedStage):
    """Real features; the stabilised sync loss comes in once the faces are drawn."""

    name = "hierspeech-face-1"

    def __init__(self, request: TrainRequest, options: FirstOptions, hears: Hears, judge: SyncExpert) -> None:
        super().__init__(request, options, hears, judge)
        if options.triplet and self._perceptual is None:
            raise UsageError("--set triplet=true needs VGG-19", "`bench weights add` its file, see `bench doctor`.")
        self._told["begin"] = options.begin or self._config.begin
        if self._told["begin"] == "silent" and hears.closes is not None:
            self._face.load_state_dict(hears.closes.state_dict())
        self._expert = judge
        self._triplet = options.triplet
        self._steps = options.ramp_steps or self._config.ramp
        self._ramp = Ramp()

    def networks(self) -> Mapping[str, nn.Module]:
        """See :meth:`Stage.networks`."""
        return {**super().networks(), "ramp": self._ramp}

    def _further(
        self, batch: FaceWindows, made: torch.Tensor, step: int, pixels: float
    ) -> tuple[torch.Tensor, dict[str, float | torch.Tensor]]:
        if int(self._ramp.since) < 0 and pixels < DRAWN_BELOW:
            self._ramp.since.fill_(step)
        since = int(self._ramp.since)
        weight = self._config.stable_sync * min(1.0, (step - since) / self._steps) if since >= 0 else 0.0
        loss, told = made.new_zeros(()), dict[str, float | torch.Tensor](sync_weight=weight)
        if weight > 0:
            stable = self._stable(batch, made)
            loss, told["sync"] = weight * stable, stable.detach()
        if self._triplet and self._perceptual is not None:
            apart = self._apart(self._perceptual, batch, made)
            loss, told["triplet"] = loss + TRIPLET * apart, apart.detach()
        return loss, told

    def _stable(self, batch: FaceWindows, made: torch.Tensor) -> torch.Tensor:
        agree = partial(self._agreement, self._expert, batch)
        with torch.no_grad():
            true = agree(batch.true)
            still = agree(batch.reference[:, None].expand_as(batch.true))
        return stabilized_sync(agree(made), true, still).mean()

    def _apart(self, perceptual: PerceptualLoss, batch: FaceWindows, made: torch.Tensor) -> torch.Tensor:
        reference = batch.reference.repeat_interleave(FRAMES, 0)
        seen = [perceptual.deepest(faces) for faces in (made.flatten(0, 1), batch.true.flatten(0, 1), reference)]
        return adaptive_triplet(seen[0], seen[1], seen[2]).mean()


class SecondStage(_JudgedStage):
    """Reconstructed features, from stage 1's weights and with its statistics."""

    name = "hierspeech-face-2"

    def __init__(
        self,
        request: TrainRequest,
        options: SecondOptions,
        hears: Hears,
        judge: SyncExpert | None,
        players: tuple[TTVFace, FaceDiscriminator],
    ) -> None:
        super().__init__(request, options, hears, judge)
        self._told["first"] = [helpers.fingerprint(player) for player in players]
        self._face, self._critic = players[0].requires_grad_(True), players[1].requires_grad_(True)
        self._rate = options.rate or self._config.fine_rate
        self._adams = self._optimised()

    def _further(
        self, batch: FaceWindows, made: torch.Tensor, step: int, pixels: float
    ) -> tuple[torch.Tensor, dict[str, float | torch.Tensor]]:
        if self._judge is None:
            return super()._further(batch, made, step, pixels)
        loss = cross_entropy(self._agreement(self._judge, batch, made), 1.0)
        return VANILLA_SYNC * loss, {"sync": loss.detach()}


def _real(request: TrainRequest, options: ClosingOptions) -> RealSpeech:
    return RealSpeech(feature_source(request, options.features), request.folder / "speech")


def _closer(request: TrainRequest, file: str | None) -> TTVFace:
    return helpers.still(helpers.closing(request.config, file), request.device)
