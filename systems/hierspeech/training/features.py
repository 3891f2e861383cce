"""Training of the tiny features network: which phoneme is spoken in each frame (specs/hierspeech.md, T.2).

A last layer and a linear map on top learn with it and are left behind: what is shipped are the first layers'
outputs, of which the training's last act measures mean and spread.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from torch.nn import functional as F

from bench import media
from bench.api import Clip, UsageError
from bench.datasets.demo.phoneme_times import PHONEMES, PhonemeTimes, demand_times, phoneme_times
from bench.systems.hierspeech import tiny
from bench.systems.hierspeech.standard_features import StandardFeatures
from bench.systems.hierspeech.w2v import EDGE, padded
from bench.train import Loss, Stage, step_seed
from bench.train_rates import cosine, set_rate
from bench.train_request import TrainRequest

RATE, HOP = 16_000, 320
CROP = 25_600  # samples
_SLOWEST, _FASTEST = 0.83, 1.2
_TILT = 0.4
_PEAK = (0.2, 0.9)
_SNR_DB = (15.0, 45.0)
_ADAM: Mapping[str, Any] = {"lr": 1e-3, "betas": (0.9, 0.98), "weight_decay": 0.01}
_WARM_UP, _FLOOR = 50, 0.02
_EVERY = 100  # steps between two evaluations
_KEPT_CLIPS = 2000  # decoded, in memory: 200 kB each


class FeatureOptions(BaseModel):
    """``schedule``: the steps over which the learning rate falls."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schedule: int = Field(default=800, ge=1)
    batch_size: int = Field(default=8, ge=1, le=1024, description="crops per step and process")


class SpokenBatch(NamedTuple):
    """``audio`` (B, CROP); ``labels`` (B, T) indices of phonemes; ``hidden`` (B, T) bool: not shown to the layers."""

    audio: torch.Tensor
    labels: torch.Tensor
    hidden: torch.Tensor


class PhonemeHead(nn.Module):
    """Features (B, D, T) to logits (B, 35, T): the network's last layer, and a linear map."""

    def __init__(self) -> None:
        super().__init__()
        sizes = tiny.W2V
        width, drop = sizes["hidden_size"], sizes["hidden_dropout"]
        heads, inner = sizes["num_attention_heads"], sizes["intermediate_size"]
        self.layer = nn.TransformerEncoderLayer(width, heads, inner, drop, F.gelu, batch_first=True, norm_first=True)
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, len(PHONEMES))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """See the class."""
        logits: torch.Tensor = self.linear(self.norm(self.layer(features.transpose(1, 2))))
        return logits.transpose(1, 2)


class Spoken:
    """Clips with the times of their phonemes, decoded when they are first drawn."""

    def __init__(self, clips: list[Clip]) -> None:
        demand_times(clips)
        self.clips = clips
        self._whole = lru_cache(_KEPT_CLIPS)(lambda index: _spoken(clips[index]))

    def whole(self, index: int) -> tuple[NDArray[np.float32], PhonemeTimes]:
        """A clip's audio (L,) at 16 kHz and its phonemes."""
        return self._whole(index)

    def draw(self, random: np.random.Generator, count: int) -> SpokenBatch:
        """Random crops of random clips, disguised."""
        pairs = [self._crop(random) for _ in range(count)]
        frames = CROP // HOP
        return SpokenBatch(
            torch.from_numpy(np.stack([audio for audio, _ in pairs])),
            torch.from_numpy(np.stack([labels for _, labels in pairs])),
            torch.from_numpy(np.stack([_spans(random, frames) for _ in pairs])),
        )

    def _crop(self, random: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """(CROP,) and (T,). Speed and pitch change together: sound and labels are read at another pace."""
        audio, times = self.whole(int(random.integers(len(self.clips))))
        pace = float(np.exp(random.uniform(np.log(_SLOWEST), np.log(_FASTEST))))
        first = random.uniform(0.0, max(1.0, len(audio) - pace * CROP))
        place = first + pace * np.arange(CROP)
        heard = np.interp(place, np.arange(len(audio)), audio, right=0.0)
        labels = times.at((first + pace * (HOP * np.arange(CROP // HOP) + HOP / 2)) / RATE)
        return disguised(heard, random), labels


def disguised(audio: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float32]:
    """``audio`` (L,) with another colour, level and noise."""
    tilted = audio.copy()
    tilted[1:] += random.uniform(-_TILT, _TILT) * audio[:-1]
    level = random.uniform(*_PEAK) / max(float(np.abs(tilted).max()), 1e-6)
    tilted *= level if level < 1e4 else 1.0  # silence stays silence
    noise = random.standard_normal(len(tilted))
    loudness = float(np.sqrt(np.mean(tilted**2)))
    return (tilted + noise * loudness * 10 ** (-random.uniform(*_SNR_DB) / 20)).astype(np.float32)


def _spans(random: np.random.Generator, frames: int) -> NDArray[np.bool_]:
    """(T,): runs of frames to hide, at least two (as wav2vec 2.0 is trained); they may overlap."""
    length = tiny.W2V["mask_time_length"]
    count = max(2, int(tiny.W2V["mask_time_prob"] * frames / length + random.uniform()))
    hidden = np.zeros(frames, bool)
    for start in random.integers(0, frames - length + 1, count):
        hidden[start : start + length] = True
    return hidden


def _spoken(clip: Clip) -> tuple[NDArray[np.float32], PhonemeTimes]:
    if clip.audio is None:
        raise UsageError(f"clip {clip.id} has no audio", "the stage features learns on the demo corpus.")
    sound = media.decode_audio(clip.audio)
    return np.asarray(media.resample(sound.samples, sound.rate, RATE), np.float32), phoneme_times(clip)


def stage(request: TrainRequest) -> Stage:
    """The stage ``features``.

    Raises:
        UsageError: configuration full, whose features are those of MMS; clips without times of phonemes.
    """
    options = request.options(FeatureOptions)
    if request.config != "tiny":
        raise UsageError(
            f"the features of configuration {request.config} are those of MMS, which is given", "train --config tiny."
        )
    return FeatureStage(request, options)


class FeatureStage(Stage):
    """Cross entropy of every frame's phoneme."""

    name = "hierspeech-features"
    clip_norm: Mapping[str, float] = {"features": 1.0}

    def __init__(self, request: TrainRequest, options: FeatureOptions) -> None:
        self._request, self._options = request, options
        self._spoken = Spoken(list(request.clips))
        self._held_out = Spoken(list(request.held_out))
        torch.manual_seed(request.seed)  # of the fresh weights
        self._features, self._head = StandardFeatures(), PhonemeHead()
        learning = [p for network in self.networks().values() for p in network.parameters()]
        self._adam = torch.optim.AdamW(learning, **_ADAM)
        self._measured: dict[str, float] = {}

    def networks(self) -> Mapping[str, nn.Module]:
        """See :meth:`Stage.networks`."""
        return {"features": self._features, "phonemes": self._head}

    def optimisers(self) -> Mapping[str, torch.optim.Optimizer]:
        """See :meth:`Stage.optimisers`."""
        return {"features": self._adam}

    def describe(self) -> Mapping[str, Any]:
        """See :meth:`Stage.describe`."""
        return {**self._request.identity(), **self._options.model_dump(mode="json")}

    def batch(self, step: int, rank: int, world: int) -> SpokenBatch:
        """See :meth:`Stage.batch`."""
        random = np.random.default_rng(step_seed(self._request.seed, step, rank))
        return self._spoken.draw(random, self._options.batch_size)

    def begin(self, step: int) -> None:
        """Sets the learning rate; now and then measures on the held-out clips."""
        set_rate(self._adam, _ADAM["lr"] * cosine(step, self._options.schedule, _WARM_UP, _FLOOR))
        self._measured = {}
        if step > 0 and step % _EVERY == 0 and self._held_out.clips:
            self._measured = {"eval_accuracy": frame_accuracy(self._features, self._head, self._held_out)}

    def losses(self, batch: SpokenBatch, step: int, generator: torch.Generator) -> Iterator[Loss]:
        """See :meth:`Stage.losses`."""
        device = self._features.feat_mean.device
        states = self._features.hidden_states(
            F.pad(batch.audio.to(device), (EDGE, EDGE), mode="reflect"), batch.hidden.to(device)
        )
        labels = batch.labels.to(device)
        logits = self._head(states[-1])
        loss = F.cross_entropy(logits, labels)
        right = (logits.argmax(1) == labels).float().mean()
        yield Loss("features", loss, {"phonemes": loss.detach(), "accuracy": right, **self._measured})

    def finish(self) -> None:
        """Means and spreads of the features over all training clips."""
        device = self._features.feat_mean.device
        total = torch.zeros(tiny.FEATURES, dtype=torch.float64, device=device)
        squares, frames = torch.zeros_like(total), 0
        with self._request.progress.stage("statistics of the features", len(self._spoken.clips)) as bar:
            for index in range(len(self._spoken.clips)):
                audio = torch.from_numpy(self._spoken.whole(index)[0]).to(device)
                raw = self._features.raw(audio[None])[0].double()
                total += raw.sum(1)
                squares += raw.square().sum(1)
                frames += raw.shape[1]
                bar.advance()
        self._features.set_statistics(total, squares, frames)


@torch.no_grad()
def frame_accuracy(features: StandardFeatures, head: PhonemeHead, spoken: Spoken) -> float:
    """The share of frames whose phoneme is found, boundaries included; the networks keep their mode."""
    training = features.training
    features.eval()
    head.eval()
    right = frames = 0
    for index in range(len(spoken.clips)):
        audio, times = spoken.whole(index)
        found = head(features.hidden_states(padded(torch.from_numpy(audio)[None].to(features.feat_mean.device)))[-1])
        count = len(audio) // HOP  # the padding says nothing
        wanted = times.at((HOP * np.arange(count) + HOP / 2) / RATE)
        right += int((found[0, :, :count].argmax(0).cpu().numpy() == wanted).sum())
        frames += count
    features.train(training)
    head.train(training)
    return right / max(1, frames)
