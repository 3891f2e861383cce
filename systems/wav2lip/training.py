"""Training Wav2Lip: the lip-sync expert, and the generator that is judged by it (tfg.md 1.9).

Source: ``Rudrabha/Wav2Lip: color_syncnet_train.py, wav2lip_train.py, hq_wav2lip_train.py``. The expert judges in
evaluation mode; the source leaves it in training mode, where its running statistics follow the generator (trap T6).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from bench.api import Clip, DataError, Unscorable, UsageError
from bench.embedded import EMBEDDED
from bench.faces.detect import Detect, DlibDetector
from bench.networks import OFFICIAL
from bench.progress import Progress
from bench.systems.wav2lip.copying import begin_as_copy, keep_statistics
from bench.systems.wav2lip.crops import Cut, FaceClip, Faces, Search
from bench.systems.wav2lip.declare import EXPERT, FACE_DETECTOR, SMALL_EXPERT
from bench.systems.wav2lip.discriminator import QualityDiscriminator
from bench.systems.wav2lip.expert import SyncExpert
from bench.systems.wav2lip.generator import Wav2LipGenerator
from bench.systems.wav2lip.losses import (
    cosine_cross_entropy,
    deceived,
    discerning,
    lower_halves,
    pixel_loss,
    sync_loss,
)
from bench.systems.wav2lip.training_data import FaceBatch, SyncBatch, Windows
from bench.systems.wav2lip.training_options import (
    GAN,
    PLAIN,
    SIZES,
    SYNC_BELOW,
    DataOptions,
    GeneratorOptions,
    Losses,
    described,
)
from bench.train import Loss, Stage, step_seed
from bench.train_request import TrainRequest
from bench.trained import filled

_LEVELS = 255.0
_WARM_UP = 100  # steps in which the rate of a generator that begins by copying grows
_JUDGED = -1  # stands for the rank in the seeds of evaluation batches, which all processes share


def expert(request: TrainRequest) -> Stage:
    """The stage ``expert``."""
    return ExpertStage(request, request.options(DataOptions))


def generator(request: TrainRequest) -> Stage:
    """The stage ``generator``.

    Raises:
        UsageError: there is no expert, or one of another size.
    """
    options = request.options(GeneratorOptions)
    return GeneratorStage(request, options, _judge(request.config, options.expert))


class _Wav2LipStage(Stage):
    """What both stages share: clips that are prepared when they are first drawn, batches by step, evaluations now
    and then (``_early``: also after the first step)."""

    _early = False

    def __init__(self, request: TrainRequest, options: DataOptions, batch: int, evaluation: tuple[int, int]) -> None:
        self._size = SIZES[request.config]
        self._seed = request.seed
        self._batch_size = options.batch_size or batch
        self._every = options.eval_every or evaluation[0]
        self._batches = options.eval_batches or evaluation[1]
        search = search_for(options, self._size.detector)
        faces = Faces(request.folder.parent / "faces", search, partial(detector_of, search, request.device))
        cut = Cut(self._size.sizes.image, self._size.pads, self._size.smooth)
        self._windows = self._held_out = _windows(faces, cut, request.clips, request.progress)
        if request.held_out:
            self._held_out = _windows(faces, cut, request.held_out, request.progress)
        self._told = {**request.identity(), **described(options, self._size)}
        self._measured: dict[str, float] = {}
        torch.manual_seed(request.seed)  # of the fresh weights

    def describe(self) -> Mapping[str, Any]:
        """See :meth:`Stage.describe`."""
        return self._told

    def begin(self, step: int) -> None:
        """Evaluates now and then; what it finds is in the curve's next line."""
        self._measured = {}
        if (step > 0 and step % self._every == 0) or (step == 1 and self._early):
            self._measured = self._evaluated()

    def _evaluated(self) -> dict[str, float]:
        """Means over fixed batches, networks in evaluation mode; of all processes' statistics together."""
        for network in self.networks().values():
            network.eval()
        sums: dict[str, float] = {}
        with torch.no_grad():
            for number in range(self._batches):
                random = np.random.default_rng(step_seed(self._seed, number, _JUDGED))
                for name, value in self._judged(random).items():
                    sums[name] = sums.get(name, 0.0) + float(value)
        for network in self.networks().values():
            network.train()
        means = torch.tensor([value / self._batches for value in sums.values()], device=self._device())
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(means)
            means /= torch.distributed.get_world_size()
        return dict(zip((f"eval_{name}" for name in sums), means.tolist(), strict=True))

    def _judged(self, random: np.random.Generator) -> Mapping[str, torch.Tensor]:
        """The losses of one held-out batch."""
        return {}

    def _random(self, step: int, rank: int) -> np.random.Generator:
        return np.random.default_rng(step_seed(self._seed, step, rank))

    def _device(self) -> torch.device:
        return next(p.device for network in self.networks().values() for p in network.parameters())

    def _there(self, tensor: torch.Tensor) -> torch.Tensor:
        """On the networks' device; pictures as numbers from 0 to 1."""
        moved = tensor.to(self._device(), non_blocking=True)
        return moved.float() / _LEVELS if moved.dtype == torch.uint8 else moved


class ExpertStage(_Wav2LipStage):
    """Whether speech and mouth belong together: cross entropy of the cosine of their embeddings."""

    name = "wav2lip-expert"

    def __init__(self, request: TrainRequest, options: DataOptions) -> None:
        size = SIZES[request.config]
        super().__init__(request, options, size.expert_batch, size.expert_eval)
        self._expert = size.expert()
        self._adam = torch.optim.Adam(self._expert.parameters(), options.rate or size.expert_rate)

    def networks(self) -> Mapping[str, nn.Module]:
        """See :meth:`Stage.networks`."""
        return {"expert": self._expert}

    def optimisers(self) -> Mapping[str, torch.optim.Optimizer]:
        """See :meth:`Stage.optimisers`."""
        return {"expert": self._adam}

    def batch(self, step: int, rank: int, world: int) -> SyncBatch:
        """See :meth:`Stage.batch`."""
        return self._windows.sync(self._random(step, rank), self._batch_size)

    def losses(self, batch: SyncBatch, step: int, generator: torch.Generator) -> Iterator[Loss]:
        """See :meth:`Stage.losses`."""
        loss = self._loss(batch)
        yield Loss("expert", loss, {"sync": loss.detach(), **self._measured})

    def _loss(self, batch: SyncBatch) -> torch.Tensor:
        speech, mouth = self._expert(self._there(batch.mel), lower_halves(self._there(batch.faces)))
        return cosine_cross_entropy(speech, mouth, self._there(batch.label))

    def _judged(self, random: np.random.Generator) -> Mapping[str, torch.Tensor]:
        return {"sync": self._loss(self._held_out.sync(random, self._batch_size))}


class Schedule(nn.Module):
    """What a training knows beside its weights: the weight of the sync loss, kept in the checkpoint."""

    sync_weight: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("sync_weight", torch.zeros(()))


class GeneratorStage(_Wav2LipStage):
    """Likeness at first; agreement with the expert once an evaluation finds enough of it; with ``gan`` the
    discriminator's opinion throughout."""

    name = "wav2lip-generator"
    _early = True

    def __init__(self, request: TrainRequest, options: GeneratorOptions, judge: SyncExpert) -> None:
        size = SIZES[request.config]
        super().__init__(request, options, size.generator_batch, size.generator_eval)
        self._weights: Losses = GAN if options.gan else PLAIN
        self._judge = judge
        self._told["expert"] = _fingerprint(judge)
        self._schedule = Schedule()
        self._generator = Wav2LipGenerator(size.sizes)
        self._critic = QualityDiscriminator(size.critic_width, size.sizes.image) if options.gan else None
        if size.copying:
            first = self.batch(0, 0, 1)  # the first process's, in all of them
            begin_as_copy(self._generator, first.mels, self._seen(first))
        self._generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # half as long on a CPU
        self.averaged = {} if size.average is None else {"generator": size.average}
        self._rate, betas = options.rate or size.generator_rate, self._weights.betas
        self._adams = {"generator": torch.optim.Adam(self._generator.parameters(), self._rate, betas)}
        if self._critic is not None:
            self._adams["discriminator"] = torch.optim.Adam(self._critic.parameters(), size.critic_rate, betas)

    def networks(self) -> Mapping[str, nn.Module]:
        """See :meth:`Stage.networks`."""
        own: dict[str, nn.Module] = {"generator": self._generator, "schedule": self._schedule}
        return own if self._critic is None else {**own, "discriminator": self._critic}

    def optimisers(self) -> Mapping[str, torch.optim.Optimizer]:
        """See :meth:`Stage.optimisers`."""
        return self._adams

    def batch(self, step: int, rank: int, world: int) -> FaceBatch:
        """See :meth:`Stage.batch`."""
        return self._windows.faces(self._random(step, rank), self._batch_size)

    def begin(self, step: int) -> None:
        """See :meth:`_Wav2LipStage.begin`; the sync loss counts from a good enough evaluation on, for good."""
        self._judge.to(self._device())
        super().begin(step)
        if self._size.copying:
            keep_statistics(self._generator)
            for group in self._adams["generator"].param_groups:  # a first full step would spoil what copies
                group["lr"] = self._rate * min(1.0, (step + 1) / _WARM_UP)
        if self._measured.get("eval_sync", SYNC_BELOW) < SYNC_BELOW:
            self._schedule.sync_weight.fill_(self._weights.sync)

    def losses(self, batch: FaceBatch, step: int, generator: torch.Generator) -> Iterator[Loss]:
        """See :meth:`Stage.losses`."""
        true, made = self._there(batch.true), self._made(batch)
        sync, adversarial = float(self._schedule.sync_weight), self._weights.adversarial
        pixels = pixel_loss(made, true)
        loss = (1.0 - sync - adversarial) * pixels
        told: dict[str, float | torch.Tensor] = {
            "pixels": pixels.detach(),
            "sync_weight": self._schedule.sync_weight,
            **self._measured,
        }
        if sync > 0:
            agreement = sync_loss(self._judge, self._there(batch.mel), made)
            loss = loss + sync * agreement
            told["sync"] = agreement.detach()
        if self._critic is None:
            yield Loss("generator", loss, told)
            return
        opinion = deceived(self._critic(made))
        yield Loss("generator", loss + adversarial * opinion, {**told, "adversarial": opinion.detach()})
        critical = discerning(self._critic(true), self._critic(made.detach()))
        yield Loss("discriminator", critical, {"discriminator": critical.detach()})

    def _made(self, batch: FaceBatch) -> torch.Tensor:
        """Faces (B, 3, 5, S, S) for the lower halves that are not shown."""
        return cast("torch.Tensor", self._generator(self._there(batch.mels), self._seen(batch)))

    def _seen(self, batch: FaceBatch) -> torch.Tensor:
        """(B, 6, 5, S, S)."""
        masked = self._there(batch.true)
        masked[:, :, :, masked.shape[3] // 2 :] = 0.0
        return torch.cat([masked, self._there(batch.reference)], dim=1)

    def _judged(self, random: np.random.Generator) -> Mapping[str, torch.Tensor]:
        batch = self._held_out.faces(random, self._batch_size)
        made = self._made(batch)
        return {
            "pixels": pixel_loss(made, self._there(batch.true)),
            "sync": sync_loss(self._judge, self._there(batch.mel), made),
        }


def _windows(faces: Faces, cut: Cut, clips: Sequence[Clip], progress: Progress) -> Windows:
    def clip(number: int) -> FaceClip:
        return faces.clip(clips[number], cut)

    def left_out(number: int, error: Unscorable) -> None:
        progress.say(f"left out: {clips[number].id}: {error}")

    return Windows(len(clips), clip, left_out)


def search_for(options: DataOptions, detector: str) -> Search:
    """Where the options, or else the configuration's ``detector``, look for faces.

    Raises:
        UsageError: the detector's weights are not here.
    """
    if options.box is not None:
        return Search("box", options.box)
    if (options.detector or detector) == "dlib":
        return Search("dlib")
    from bench.weights import locate

    if locate(FACE_DETECTOR) is None:
        raise UsageError(
            f"weights {FACE_DETECTOR.name} are not here: get them from {FACE_DETECTOR.source}",
            f"`bench weights add FILE --as {FACE_DETECTOR.name}`, or find faces with --set detector=dlib.",
        )
    return Search(f"s3fd-{OFFICIAL.identity(FACE_DETECTOR)}")


def detector_of(search: Search, device: str) -> Detect:
    """The detector that ``search`` names."""
    if search.detector == "dlib":
        return DlibDetector()
    from bench.faces.s3fd import S3FD, S3fdDetector

    return S3fdDetector(OFFICIAL.fill(S3FD(), FACE_DETECTOR), device)


def _judge(config: str, file: str | None) -> SyncExpert:
    """The frozen expert: from a file of the stage ``expert``, or the shipped one, or the official one."""
    made = SIZES[config].expert()
    if file is not None:
        return filled(made, Path(file), "expert", "expert")
    try:
        return EMBEDDED.fill(made, SMALL_EXPERT) if SIZES[config].small else OFFICIAL.fill(made, EXPERT)
    except DataError as error:
        raise UsageError(
            f"the generator needs an expert: {error.message}",
            f"{error.hint} Or `bench train wav2lip --stage expert --config {config}`, "
            "then --set expert=FOLDER/weights.safetensors.",
        ) from error


def _fingerprint(network: nn.Module) -> str:
    from bench.weights_file import digest

    return digest(network.state_dict())[:16]
