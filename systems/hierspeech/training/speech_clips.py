"""What speech training sees of a clip: audio, features, F0, mel and tokens, computed when a step first draws it.

The costly part (features, F0) is kept on disk by the clip's content and the features' weights, so that trainings that
are repeated, resumed or of other stages find it. Facts: specs/hierspeech.md, sections 3 and 4.5.

    clips = speech_clips(request, options.features)      # of request.clips; held_out=True: of request.held_out
    index = clips.draw(random)                           # random: numpy's Generator of the step
    clip = clips[index]                                  # SpeechClip
    style = clips[clips.partner(index, random)].mel      # another utterance of the speaker
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bench import media
from bench.api import Clip, DataError, Unscorable
from bench.systems.hierspeech import mel, yaapt
from bench.systems.hierspeech.text import Tokens
from bench.systems.hierspeech.training.feature_source import FeatureSource, feature_source
from bench.systems.hierspeech.training.text_cache import kept_tokens
from bench.systems.hierspeech.waveform import SOURCE_STEP, pad_right

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.progress import Progress
    from bench.train_request import TrainRequest

RATE, HOP = 16_000, 320
FRAME_RATE = 50  # features a second
PITCHES = 4  # values of F0 per frame
LEAST_FRAMES, MOST_FRAMES = 32, 600
MOST_IDS = 200  # of a text, without blanks
_VIDEO_FRAMES = 2  # frames of features per frame of video
_IN_MEMORY = 512  # clips
_VERSION = 1  # of what is kept: a change makes new files
_INT16 = 32768.0


@dataclass(frozen=True, slots=True)
class SpeechClip:
    """A clip's speech; T frames at 50 Hz, a multiple of 4: the clip is padded with zeros (always at least one sample).

    ``audio`` ``(320 T,)`` float32 at 16 kHz; ``features`` ``(D, T)`` float32, those of the tiny configuration
    standardised; ``f0`` ``(4 T,)`` float32 in hertz, 0 where unvoiced; ``mel`` ``(80, T)`` log-mel; ``tokens``
    ``(2n + 1,)`` int64 with blanks, ``ids`` ``(n,)`` without: both empty where the clips were asked for without text;
    ``samples``: the length of the audio before padding.
    """

    id: str
    speaker: str
    audio: torch.Tensor
    features: torch.Tensor
    f0: torch.Tensor
    mel: torch.Tensor
    ids: torch.Tensor
    tokens: torch.Tensor
    samples: int

    @property
    def frames(self) -> int:
        """T, padding included."""
        return self.features.shape[1]


class SpeechClips(Sequence[SpeechClip]):
    """Usable ones of ``clips`` in their order; ``left_out`` counts the others by reason.

    Length and text decide before anything is decoded; whether a clip has a voice is found when it is drawn
    (:meth:`draw` then takes another).

    Raises:
        DataError: no clip is left.
    """

    def __init__(
        self, clips: Sequence[Clip], features: FeatureSource, folder: Path, progress: Progress, with_text: bool = False
    ) -> None:
        self._source, self._folder, self._progress = features, folder, progress
        self.left_out: Counter[str] = Counter()
        self._given = len(clips)
        folder.mkdir(parents=True, exist_ok=True)
        texts = kept_tokens([clip.transcript or "" for clip in clips], folder, progress) if with_text else None
        self._clips: list[Clip] = []
        self._tokens: list[Tokens | None] = []
        for clip, tokens in zip(clips, texts or [None] * len(clips), strict=True):
            reason = _refused(clip, tokens, with_text)
            if reason is None:
                self._clips.append(clip)
                self._tokens.append(tokens)
            else:
                self._leave_out(clip, reason)
        if clips and not self._clips:
            raise DataError(f"no clip can be trained on: {self.told()}", "see `bench data check`.")
        if self.left_out:
            progress.say(self.told())
        self._unusable: set[int] = set()
        self._by_speaker: dict[str, list[int]] = defaultdict(list)
        for index in range(len(self._clips)):
            self._by_speaker[self.speaker(index)].append(index)
        self._made = lru_cache(_IN_MEMORY)(self._make)

    def __len__(self) -> int:
        """How many clips there are; of them some may turn out to have no voice."""
        return len(self._clips)

    def __getitem__(self, index: int) -> SpeechClip:  # type: ignore[override]  # no slices: they would load all
        """The clip, from memory or disk, or made now.

        Raises:
            Unscorable: it has no voice, or cannot be decoded; see :meth:`draw`.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self._made(index % len(self))

    def speaker(self, index: int) -> str:
        """Who speaks; a clip without a name is a speaker of its own. Loads nothing."""
        clip = self._clips[index]
        return clip.identity or clip.id

    def clip(self, index: int) -> Clip:
        """The data set's record. Loads nothing."""
        return self._clips[index]

    def draw(self, random: np.random.Generator) -> int:
        """A random usable clip: a function of the generator and the clips' content, whatever was drawn before.

        Raises:
            DataError: none is usable.
        """
        return self._chosen(random, range(len(self)))

    def partner(self, index: int, random: np.random.Generator) -> int:
        """Another usable clip of the same speaker; the clip itself where there is none."""
        others = [other for other in self._by_speaker[self.speaker(index)] if other != index]
        while others:
            other = others[int(random.integers(len(others)))]
            if self.usable(other):
                return other
            others.remove(other)
        return index

    def usable(self, index: int) -> bool:
        """Whether the clip can be had; makes it."""
        if index in self._unusable:
            return False
        try:
            self[index]
        except Unscorable as error:
            self._unusable.add(index)
            self._leave_out(self._clips[index], error.kind)
            self._progress.say(f"left out: {self._clips[index].id}: {error}")
            return False
        return True

    def told(self) -> str:
        """A line for people about what is left out."""
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self.left_out.items()))
        return f"{self.left_out.total()} of {self._given} clips are left out: {reasons}"

    def describe(self) -> Mapping[str, Any]:
        """For :meth:`bench.train.Stage.describe`: what the features are, and how many clips there are."""
        return {"features": self._source.identity, "usable": len(self)}

    def _chosen(self, random: np.random.Generator, among: Sequence[int]) -> int:
        left = list(among)
        while left:
            index = left[int(random.integers(len(left)))]
            if self.usable(index):
                return index
            left.remove(index)
        raise DataError(f"no clip can be trained on: {self.told()}", "see `bench data check`.")

    def _leave_out(self, clip: Clip, reason: str) -> None:
        self.left_out[reason] += 1
        self._progress.detail(f"left out: {clip.id}: {reason}")

    def _make(self, index: int) -> SpeechClip:
        clip, tokens = self._clips[index], self._tokens[index]
        path = self._folder / f"{_key(clip, self._source.identity)}.npz"
        kept = _read(path)
        if kept is None:
            kept = _computed(clip, self._source)
            _write(path, kept)
        audio = pad_right(torch.from_numpy(kept["audio"].astype(np.float32) / np.float32(_INT16)), SOURCE_STEP)
        frames = len(audio) // HOP
        f0 = torch.from_numpy(kept["f0"])
        _check(frames, f0, tokens)
        return SpeechClip(
            id=clip.id,
            speaker=self.speaker(index),
            audio=audio,
            features=torch.from_numpy(kept["features"]).float(),
            f0=f0,
            mel=mel.log_mel(audio[None])[0],
            ids=torch.tensor(tokens.ids if tokens else (), dtype=torch.long),
            tokens=torch.tensor(tokens.tokens if tokens else (), dtype=torch.long),
            samples=len(kept["audio"]),
        )


def speech_clips(
    request: TrainRequest, features: str | None = None, *, held_out: bool = False, with_text: bool = False
) -> SpeechClips:
    """The request's clips (or its held-out ones, of which there may be none) with features of the file ``features``, or
    the shipped ones, or MMS's; see :func:`.feature_source.feature_source` for what it raises."""
    source = feature_source(request, features)
    clips = request.held_out if held_out else request.clips
    return SpeechClips(clips, source, request.folder.parent / "speech", request.progress, with_text)


def _refused(clip: Clip, tokens: Tokens | None, with_text: bool) -> str | None:
    """Why a clip is left out, by what its record says."""
    if clip.audio is None:
        return "without audio"
    frames = clip.n_frames * _VIDEO_FRAMES
    if frames < LEAST_FRAMES:
        return "too short"
    if frames > MOST_FRAMES:
        return "too long"
    if not with_text:
        return None
    if tokens is None:
        return "without text"
    return "text too long" if len(tokens.ids) > MOST_IDS else None


def _check(frames: int, f0: torch.Tensor, tokens: Tokens | None) -> None:
    """Raises :class:`Unscorable` for what can be said only of the decoded clip."""
    if frames < LEAST_FRAMES:
        raise Unscorable("too_short", f"{frames} frames of features")
    if tokens is not None and len(tokens.tokens) > frames:
        raise Unscorable("too_short", f"{len(tokens.tokens)} tokens in {frames} frames")
    if not bool((f0 > 0).any()):
        raise Unscorable("silent_audio", "no frame has a voice")


def _key(clip: Clip, features: str) -> str:
    """The name of a clip's file: equal where content and features are."""
    part = astuple(clip.audio)[1:] if clip.audio is not None else None
    told = json.dumps([_VERSION, clip.content_sha256, part, features])
    return hashlib.sha256(told.encode()).hexdigest()[:32]


def _computed(clip: Clip, source: FeatureSource) -> dict[str, NDArray[Any]]:
    """``audio`` int16 (L,), ``features`` float16 (D, T), ``f0`` float32 (4 T,)."""
    if clip.audio is None:
        raise Unscorable("no_audio_stream")
    sound = media.decode_audio(clip.audio)
    audio = media.to_int16(media.resample(sound.samples, sound.rate, RATE))
    heard = pad_right(torch.from_numpy(audio.astype(np.float32) / np.float32(_INT16)), SOURCE_STEP)
    return {
        "audio": audio,
        "features": source.of(torch.from_numpy(audio.astype(np.float32) / np.float32(_INT16))).numpy().astype("f2"),
        "f0": np.asarray(yaapt.f0(heard.numpy()), np.float32)[: len(heard) // HOP * PITCHES],
    }


def _read(path: Path) -> dict[str, NDArray[Any]] | None:
    """What an earlier call has written; a damaged file is as good as none."""
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in ("audio", "features", "f0")}
    except (OSError, ValueError, KeyError, EOFError):
        return None


def _write(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """The file appears when it is whole; several processes may write the same one."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
