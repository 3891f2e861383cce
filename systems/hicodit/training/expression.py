"""The stage ``expression``: the small classifier of faces' expressions, on faces that are moved into them.

A clip whose data set names its emotion is learnt from as it is; others count as neutral, and each time one is drawn its
face is moved into the class that is wanted (:mod:`.moved_faces`). Held-out clips tell the accuracy that the file's
header has, each of their faces in all classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from bench.api import Clip, DataError, Unscorable, UsageError
from bench.media import Media
from bench.systems.hicodit.emotion import CLASSES
from bench.systems.hicodit.expression import ExpressionNet, grey_faces
from bench.systems.hicodit.landmarks import find_points
from bench.systems.hicodit.training.makers import EMOTION, emotion_of
from bench.systems.hicodit.training.moved_faces import moved
from bench.train import Loss, Stage
from bench.train_rates import cosine, set_rate
from bench.train_request import TrainRequest

NETWORK = "expression"
_PER_CLIP = 6  # frames
_STRENGTH = (0.6, 1.4)
_JITTER = 0.02  # of the picture's width: deviation of the face's square
_LIGHT = 0.1  # deviation of the light's factor
_WARM_UP, _FLOOR = 20, 0.05


class ExpressionOptions(BaseModel):
    """Settings of the stage."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch: int = Field(default=42, ge=1, description="faces of a step")
    rate: float = Field(default=2e-3, gt=0, description="learning rate of Adam at its highest")
    schedule: int = Field(default=600, ge=1, description="steps until the rate has fallen to a twentieth")


@dataclass(frozen=True, slots=True)
class Face:
    """A frame (H, W, 3) with its landmarks (68, 2); ``label``: its class where the data set names one."""

    frame: NDArray[np.uint8]
    points: NDArray[np.float64]
    label: int | None


@dataclass(frozen=True, slots=True)
class Faces:
    """``pictures`` float32 (B, 1, 48, 48) in 0 … 1, ``classes`` int64 (B,)."""

    pictures: Tensor
    classes: Tensor


def stage(request: TrainRequest) -> Stage:
    """The stage ``expression``.

    Raises:
        UsageError: configuration full; unknown settings.
        DataError: no clip has a face.
    """
    if request.config != "tiny":
        raise UsageError("stage expression: there is the small classifier alone", "give --config tiny.")
    return ExpressionStage(request, request.options(ExpressionOptions))


class ExpressionStage(Stage):
    """Cross entropy; in each batch all classes as often, but for clips that have a class of their own."""

    name = "hicodit-expression"
    clip_norm: Mapping[str, float] = {NETWORK: 1.0}

    def __init__(self, request: TrainRequest, options: ExpressionOptions) -> None:
        self._request, self._options = request, options
        self._faces = faces_of(request.clips, request)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(request.seed)
            self._network = ExpressionNet()
        self._descent = torch.optim.Adam(self._network.parameters(), lr=options.rate)
        self._accuracy: float | None = None

    def networks(self) -> Mapping[str, nn.Module]:
        """See :meth:`Stage.networks`."""
        return {NETWORK: self._network}

    def optimisers(self) -> Mapping[str, torch.optim.Optimizer]:
        """See :meth:`Stage.optimisers`."""
        return {NETWORK: self._descent}

    def describe(self) -> Mapping[str, Any]:
        """See :meth:`Stage.describe`."""
        return {**self._request.identity(), **self._options.model_dump(mode="json")}

    def begin(self, step: int) -> None:
        """Sets the learning rate."""
        set_rate(self._descent, self._options.rate * cosine(step, self._options.schedule, _WARM_UP, _FLOOR))

    def batch(self, step: int, rank: int, world: int) -> Faces:
        """Faces of random clips."""
        random = np.random.default_rng((self._request.seed, step, rank))
        chosen = random.integers(len(self._faces), size=self._options.batch)
        drawn = [shown(self._faces[index], place % len(CLASSES), random) for place, index in enumerate(chosen)]
        return collated(drawn)

    def losses(self, batch: Faces, step: int, generator: torch.Generator) -> Iterator[Loss]:
        """See :meth:`Stage.losses`."""
        device = next(self._network.parameters()).device
        logits = self._network(batch.pictures.to(device))
        wanted = batch.classes.to(device)
        loss = F.cross_entropy(logits, wanted)
        right = (logits.argmax(dim=1) == wanted).float().mean()
        yield Loss(NETWORK, loss, {"loss": loss.detach(), "accuracy": right})

    def finish(self) -> None:
        """Measures on the held-out clips."""
        if not self._request.held_out:
            return
        faces = faces_of(self._request.held_out, self._request)
        random = np.random.default_rng(self._request.seed)
        every = [shown(face, wanted, random) for face in faces for wanted in range(len(CLASSES))]
        self._accuracy = accuracy(self._network, collated(every))

    def facts(self) -> Mapping[str, str]:
        """The share of held-out faces whose class is told right."""
        return {} if self._accuracy is None else {"held_out_accuracy": f"{self._accuracy:.4f}"}


def faces_of(clips: Sequence[Clip], request: TrainRequest) -> list[Face]:
    """Some frames of each clip that show a face; who has none is named.

    Raises:
        DataError: no clip has a face.
    """
    found: list[Face] = []
    with request.progress.stage("faces", len(clips)) as bar:
        for clip in clips:
            try:
                found += _of_clip(clip)
            except Unscorable as error:
                request.progress.say(f"left out: {clip.id}: {error}")
            bar.advance()
    if not found:
        raise DataError("no clip shows a face", "see `bench data check`.")
    return found


def _of_clip(clip: Clip) -> list[Face]:
    if clip.video is None:
        raise Unscorable("no_video_stream", clip.id)
    frames = Media(clip.video, None, "").frames
    frames = frames[np.linspace(0, len(frames) - 1, min(_PER_CLIP, len(frames))).astype(int)]
    points = find_points([frames])
    label = emotion_of(clip) if EMOTION in clip.extra else None
    whole = [at for at in range(len(frames)) if not np.isnan(points[at]).any()]
    if not whole:
        raise Unscorable("no_face", clip.id)
    return [Face(frames[at].copy(), points[at], label) for at in whole]


def shown(face: Face, wanted: int, random: np.random.Generator) -> tuple[NDArray[np.float32], int]:
    """A face (48, 48) in 0 … 1 in the class ``wanted``, or its own where it has one, and the class."""
    strength = float(random.uniform(*_STRENGTH))
    offset, factor = random.normal(size=2) * _JITTER * face.frame.shape[1], 1 + _LIGHT * random.normal()
    label = wanted if face.label is None else face.label
    frame = moved(face.frame, face.points, CLASSES[label], strength) if face.label is None else face.frame
    grey = grey_faces(frame[None], face.points[None] + offset)[0]
    return np.clip(grey.astype(np.float32) / 255 * factor, 0, 1).astype(np.float32), label


def collated(faces: Sequence[tuple[NDArray[np.float32], int]]) -> Faces:
    """A batch."""
    pictures = torch.from_numpy(np.stack([picture for picture, _ in faces]))[:, None]
    return Faces(pictures, torch.tensor([label for _, label in faces]))


@torch.no_grad()
def accuracy(network: ExpressionNet, faces: Faces) -> float:
    """Share of the faces whose class is told right."""
    device = next(network.parameters()).device
    told = network(faces.pictures.to(device)).argmax(dim=1).cpu()
    return float((told == faces.classes).double().mean())
