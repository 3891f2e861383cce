"""What the three stages of the talking face's training share: their clips, both players, likeness, and evaluations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from bench.api import Clip, Unscorable
from bench.systems.hierspeech.face.discriminator import FaceDiscriminator
from bench.systems.hierspeech.face.generator import TTVFace, masked
from bench.systems.hierspeech.face.losses import deceived, discerning
from bench.systems.hierspeech.face.perceptual import PerceptualLoss, official
from bench.systems.hierspeech.training.face_data import FaceData, FaceWindows, as_numbers, face_cut
from bench.systems.hierspeech.training.face_options import (
    BETAS,
    CLIP_NORM,
    CONFIGS,
    PERCEPTUAL,
    PIXEL,
    ClosingOptions,
)
from bench.systems.hierspeech.training.face_speech import RealSpeech, ReconstructedSpeech, statistics
from bench.systems.wav2lip.crops import Faces
from bench.systems.wav2lip.expert import FRAMES
from bench.systems.wav2lip.losses import pixel_loss
from bench.systems.wav2lip.training import detector_of, search_for
from bench.train import Loss, Stage, step_seed
from bench.train_rates import flat_then_linear, set_rate
from bench.train_request import TrainRequest

_LOWEST_RATE = 0.05  # of the rate, at the end of a schedule
_JUDGED = -1  # stands for the rank in the seeds of evaluation batches, which all processes share


class Hears:
    """Where a stage's speech comes from, and what closes the lips of its references (nothing in stage 0)."""

    def __init__(self, speech: RealSpeech | ReconstructedSpeech, closes: TTVFace | None) -> None:
        self.speech = speech
        self.closes = closes


class FaceStage(Stage):
    """What the stages share: windows by step, both players, likeness and the discriminator's opinion."""

    clip_norm = {"face": CLIP_NORM}

    def __init__(self, request: TrainRequest, options: ClosingOptions, hears: Hears) -> None:
        config = CONFIGS[request.config]
        self._config, self._seed = config, request.seed
        self._batch_size = options.batch_size or config.batch
        self._closes = hears.closes
        self._every = options.eval_every or config.evaluation[0]
        self._batches = options.eval_batches or config.evaluation[1]
        self._data = self._held_out = _data(request, options, hears, request.clips)
        if request.held_out:
            self._held_out = _data(request, options, hears, request.held_out)
        self._perceptual = _perceptual(request, options)
        self._told: dict[str, Any] = {
            **request.identity(),
            **options.model_dump(mode="json", exclude={"features", "silent", "expert", "first", "ttv"}),
            "speech": hears.speech.name,
            "perceptual": options.per_norm if self._perceptual is not None else "off: no VGG-19 file",
        }
        self._measured: dict[str, float] = {}
        torch.manual_seed(request.seed)  # of the fresh weights
        self._face = TTVFace(config.sizes)
        self._critic = FaceDiscriminator(config.critic)
        if request.config == "full" and isinstance(hears.speech, RealSpeech):  # the tiny features are standardised
            self._face.set_statistics(*statistics(hears.speech, request.clips))
        self.averaged = {"face": config.average}
        self._rate = options.rate or config.rate
        self._schedule = options.schedule or config.schedules.get(self.name[-1])
        self._told["schedule"] = self._schedule
        self._adams = self._optimised()

    def _optimised(self) -> dict[str, torch.optim.Optimizer]:
        for network in (self._face, self._critic):
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return {
            "face": torch.optim.Adam(self._face.parameters(), self._rate, BETAS),
            "discriminator": torch.optim.Adam(self._critic.parameters(), self._config.critic_rate, BETAS),
        }

    def networks(self) -> Mapping[str, nn.Module]:
        """See :meth:`Stage.networks`."""
        return {"face": self._face, "discriminator": self._critic}

    def optimisers(self) -> Mapping[str, torch.optim.Optimizer]:
        """See :meth:`Stage.optimisers`."""
        return self._adams

    def describe(self) -> Mapping[str, Any]:
        """See :meth:`Stage.describe`."""
        return self._told

    def facts(self) -> Mapping[str, str]:
        """See :meth:`Stage.facts`."""
        return {"perceptual": self._told["perceptual"]}

    def batch(self, step: int, rank: int, world: int) -> FaceWindows:
        """See :meth:`Stage.batch`."""
        return self._drawn(self._data, step_seed(self._seed, step, rank))

    def _drawn(self, data: FaceData, seed: int) -> FaceWindows:
        return data.draw(np.random.default_rng(seed), self._batch_size, self._config.sizes.window)

    def begin(self, step: int) -> None:
        """The learning rate of the step; evaluates now and then: what it finds is in the curve's next line."""
        if self._schedule is not None:
            set_rate(self._adams["face"], self._rate * flat_then_linear(step, self._schedule, 1, _LOWEST_RATE))
        for helper in (self._perceptual, self._closes):
            if helper is not None:
                helper.to(self._device())
        self._measured = self._evaluated() if step > 0 and step % self._every == 0 else {}

    def losses(self, batch: FaceWindows, step: int, generator: torch.Generator) -> Iterator[Loss]:
        """See :meth:`Stage.losses`."""
        batch = self._there(batch)
        made = self._made(batch)
        drawn, true = made.flatten(0, 1), batch.true.flatten(0, 1)
        pixels, opinion = pixel_loss(drawn, true), deceived(self._critic(drawn))
        loss = PIXEL * pixels + opinion
        told: dict[str, float | torch.Tensor] = {"pixels": pixels.detach(), "adversarial": opinion.detach()}
        if self._perceptual is not None:
            likeness = self._perceptual(drawn, true)
            loss = loss + PERCEPTUAL * likeness
            told["perceptual"] = likeness.detach()
        more, about = self._further(batch, made, step, float(pixels.detach()))
        yield Loss("face", loss + more, {**told, **about, **self._measured})
        critical = discerning(self._critic(true), self._critic(drawn.detach()))
        yield Loss("discriminator", critical, {"discriminator": critical.detach()})

    def _further(
        self, batch: FaceWindows, made: torch.Tensor, step: int, pixels: float
    ) -> tuple[torch.Tensor, dict[str, float | torch.Tensor]]:
        """A stage's own losses, and what is told of them."""
        return made.new_zeros(()), {}

    def _made(self, batch: FaceWindows) -> torch.Tensor:
        """Faces (B, 5, 3, S, S); the identity is encoded once for the five frames."""
        face, layout = self._face, torch.channels_last
        pose = face.pose_encoder(masked(batch.true.flatten(0, 1)).contiguous(memory_format=layout))
        known = face.identity_encoder(batch.reference.contiguous(memory_format=layout))
        known = [maps.repeat_interleave(FRAMES, 0) for maps in known]
        made = face.decode(pose, known, face.hear(batch.speech.flatten(0, 1)))
        return made.reshape(batch.true.shape)

    def _evaluated(self) -> dict[str, float]:
        """Means over fixed batches of held-out clips, in evaluation mode; of all processes' statistics together."""
        self._face.eval()
        found: list[Mapping[str, torch.Tensor]] = []
        with torch.no_grad():
            for number in range(self._batches):
                batch = self._there(self._drawn(self._held_out, step_seed(self._seed, number, _JUDGED)))
                found.append(self._judged(batch, self._made(batch)))
        self._face.train()
        means = torch.stack([torch.stack([values[name].float() for values in found]).mean() for name in found[0]])
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(means)
            means /= torch.distributed.get_world_size()
        return dict(zip((f"eval_{name}" for name in found[0]), means.tolist(), strict=True))

    def _judged(self, batch: FaceWindows, made: torch.Tensor) -> dict[str, torch.Tensor]:
        """Likeness, that of the reference, and how much other speech moves the lower and the upper half."""
        moved = (self._made(batch._replace(speech=batch.speech.roll(1, 0))) - made).abs()
        half = made.shape[-2] // 2
        return {
            "pixels": pixel_loss(made, batch.true),
            "copied": pixel_loss(batch.reference[:, None].expand_as(batch.true), batch.true),
            "moved_lower": moved[..., half:, :].mean(),
            "moved_upper": moved[..., :half, :].mean(),
        }

    def _device(self) -> torch.device:
        return self._face.feat_mean.device

    def _there(self, batch: FaceWindows) -> FaceWindows:
        """On the networks' device; pictures as numbers from 0 to 1, the references' lips closed."""
        true, reference, speech, mel = (part.to(self._device(), non_blocking=True) for part in batch)
        known = as_numbers(reference)
        if self._closes is not None:  # only what is drawn: a clip has some twenty times as many frames
            with torch.no_grad():
                known = self._closes.silenced(known)
        return FaceWindows(as_numbers(true), known, speech, mel)


def _data(request: TrainRequest, options: ClosingOptions, hears: Hears, clips: Sequence[Clip]) -> FaceData:
    config = CONFIGS[request.config]
    search = search_for(options, config.detector)
    faces = Faces(request.folder.parent / "faces", search, partial(detector_of, search, request.device))

    def left_out(clip: Clip, error: Unscorable) -> None:
        request.progress.say(f"left out: {clip.id}: {error}")

    return FaceData(clips, faces, face_cut(config.sizes.image), hears.speech, left_out)


def _perceptual(request: TrainRequest, options: ClosingOptions) -> PerceptualLoss | None:
    found = official(options.per_norm)
    if found is None:
        request.progress.say("the perceptual loss is off: vgg19-dcbb9e9d.pth is not here (`bench weights add`)")
    return found
