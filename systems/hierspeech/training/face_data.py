"""What a training step of the talking face sees: five frames, the speech around each, and a face of another moment.

Faces come from Wav2Lip's crops (:mod:`bench.systems.wav2lip.crops`), cut as inference cuts them: 10 px below the chin,
boxes averaged over five frames, so that the network learns on the very crops that it will paint over. A clip is
prepared when it is first drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from bench.api import Clip, DataError, Unscorable
from bench.faces.boxes import Pads
from bench.systems.hierspeech.face.windows import VECTORS_PER_FRAME, window_indices
from bench.systems.wav2lip.crops import Cut, FaceClip, Faces
from bench.systems.wav2lip.expert import FRAMES
from bench.systems.wav2lip.mel import COLUMNS_PER_SECOND, WINDOW_COLUMNS, windows

_FPS = 25.0
_LEVELS = 255.0

#: Speech features (T, D) of a clip.
SpeechOf = Callable[[Clip], NDArray[np.floating]]


class FaceWindows(NamedTuple):
    """``true`` RGB (B, 5, 3, S, S); ``reference`` (B, 3, S, S) of another frame, both uint8; ``speech`` (B, 5, W, D), a
    window per frame; ``mel`` (B, 1, 80, 16) of the five frames together."""

    true: torch.Tensor
    reference: torch.Tensor
    speech: torch.Tensor
    mel: torch.Tensor


def face_cut(size: int) -> Cut:
    """As inference cuts."""
    return Cut(size, Pads(), smooth=True)


class FaceData:
    """Batches of windows, each a function of its generator's state."""

    def __init__(
        self,
        clips: Sequence[Clip],
        faces: Faces,
        cut: Cut,
        speech: SpeechOf,
        left_out: Callable[[Clip, Unscorable], None],
    ) -> None:
        self._clips, self._faces, self._cut = list(clips), faces, cut
        self._speech, self._left_out = speech, left_out
        self._known: dict[int, _Talk | None] = {}

    def draw(self, random: np.random.Generator, size: int, window: int) -> FaceWindows:
        """``size`` windows of five frames, each of a clip of its own drawing; ``window`` vectors of speech per frame.

        Raises:
            DataError: no clip can be used.
        """
        drawn = [self._talk(random).draw(random, window) for _ in range(size)]
        return FaceWindows(*(torch.from_numpy(np.stack(part)) for part in zip(*drawn, strict=True)))

    def _talk(self, random: np.random.Generator) -> _Talk:
        while not self._none_is_left():
            talk = self._prepared(int(random.integers(len(self._clips))))
            if talk is not None:
                return talk
        raise DataError(
            f"none of {len(self._clips)} clips can be trained on",
            f"clips need {FRAMES} faces in a row with speech, and another one; see what is left out above.",
        )

    def _none_is_left(self) -> bool:
        return len(self._known) == len(self._clips) and all(talk is None for talk in self._known.values())

    def _prepared(self, number: int) -> _Talk | None:
        if number not in self._known:
            clip = self._clips[number]
            try:
                faces = self._faces.clip(clip, self._cut)
                self._known[number] = _Talk(faces, np.asarray(self._speech(clip)))
            except Unscorable as error:
                self._known[number] = None
                self._left_out(clip, error)
        return self._known[number]


class _Talk:
    """A clip with its speech: the windows of five faces in a row whose speech is there, by the place of the first face.

    Raises:
        Unscorable: there is none, or no other frame.
    """

    def __init__(self, faces: FaceClip, speech: NDArray[np.floating]) -> None:
        self._faces, self._speech = faces, speech
        frames = faces.frames
        in_a_row = frames[FRAMES - 1 :] - frames[: len(frames) - FRAMES + 1] == FRAMES - 1
        first = frames[: len(in_a_row)]
        heard = VECTORS_PER_FRAME * (first + FRAMES) <= len(speech)
        spoken = _mel_starts(first) + WINDOW_COLUMNS <= faces.columns
        self._starts = np.flatnonzero(in_a_row & heard & spoken)
        if len(self._starts) == 0 or len(frames) <= FRAMES:
            raise Unscorable("too_short", f"no {FRAMES} faces in a row with speech, and another one")

    def draw(self, random: np.random.Generator, window: int) -> tuple[NDArray[Any], ...]:
        """The four parts of a :class:`FaceWindows`; the reference is any frame outside the window."""
        start = int(random.choice(self._starts))
        other = int(random.integers(len(self._faces.frames) - FRAMES))
        other += FRAMES if other >= start else 0
        frame = int(self._faces.frames[start])
        heard = window_indices(len(self._speech), window)[frame : frame + FRAMES]
        faces = self._faces.faces()
        return (
            _rgb(faces[start : start + FRAMES]),
            _rgb(faces[other]),
            np.asarray(self._speech[heard], np.float32),
            windows(np.asarray(self._faces.mel()), _mel_starts(np.array([frame])))[0],
        )


def _mel_starts(frames: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where the expert's speech of windows that begin at ``frames`` begins, in columns."""
    starts: NDArray[np.int64] = (COLUMNS_PER_SECOND * (frames / _FPS)).astype(np.int64)
    return starts


def _rgb(faces: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Faces (…, S, S, 3), blue first, as (…, 3, S, S), red first."""
    return np.ascontiguousarray(np.moveaxis(np.asarray(faces)[..., ::-1], -1, -3))


def as_numbers(faces: torch.Tensor) -> torch.Tensor:
    """Levels as numbers from 0 to 1."""
    return faces.float() / _LEVELS
