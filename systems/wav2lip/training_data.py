"""What a training step sees: windows of five frames and their speech, drawn from prepared clips (tfg.md 1.9)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from bench.api import DataError, Unscorable
from bench.systems.wav2lip.crops import FaceClip
from bench.systems.wav2lip.expert import FRAMES
from bench.systems.wav2lip.mel import WINDOW_COLUMNS, training_start, windows


class SyncBatch(NamedTuple):
    """``mel`` (B, 1, 80, 16); ``faces`` uint8 (B, 3, 5, S, S); ``label`` (B,): 1 where they belong together."""

    mel: torch.Tensor
    faces: torch.Tensor
    label: torch.Tensor


class FaceBatch(NamedTuple):
    """``mels`` (B, 5, 1, 80, 16), one per frame; ``mel`` (B, 1, 80, 16) of the whole window; ``true`` and
    ``reference`` uint8 (B, 3, 5, S, S), of two windows of a clip."""

    mels: torch.Tensor
    mel: torch.Tensor
    true: torch.Tensor
    reference: torch.Tensor


class _Windows:
    """A clip's windows of five consecutive frames, each by the place of its first face.

    ``anchors`` are those whose speech is whole: the columns of all five frames, from one frame before (frame 0 is
    none). ``starts`` are all.

    Raises:
        Unscorable: there is no anchor, or no other window.
    """

    def __init__(self, clip: FaceClip) -> None:
        self.clip = clip
        frames = clip.frames
        there = frames[FRAMES - 1 :] - frames[: len(frames) - FRAMES + 1] == FRAMES - 1
        self.starts = np.flatnonzero(there)
        whole = [frames[place] > 0 and _last(int(frames[place])) <= clip.columns for place in self.starts]
        self.anchors = self.starts[np.array(whole, bool)]
        if len(self.anchors) == 0 or len(self.starts) < 2:
            raise Unscorable("too_short", f"no two windows of {FRAMES} faces in a row with speech")

    def draw(self, random: np.random.Generator) -> tuple[int, int]:
        """An anchor and another window, each with equal chances."""
        anchor = int(random.choice(self.anchors))
        others = self.starts[self.starts != anchor]
        return anchor, int(random.choice(others))

    def faces(self, place: int) -> NDArray[np.uint8]:
        """(3, 5, S, S)."""
        return np.ascontiguousarray(self.clip.faces()[place : place + FRAMES].transpose(3, 0, 1, 2))

    def mels(self, place: int, begins: Sequence[int]) -> NDArray[np.float32]:
        """(len(begins), 1, 80, 16): the windows of frames that lie so many after the one at ``place``."""
        frame = int(self.clip.frames[place])
        starts = np.array([training_start(frame + later) for later in begins], np.int64)
        return windows(np.asarray(self.clip.mel()), starts)


def _last(frame: int) -> int:
    """Where the speech of the last frame of a window that begins at ``frame`` ends, in columns."""
    return training_start(frame + FRAMES - 1) + WINDOW_COLUMNS


class Windows:
    """Batches from ``count`` clips, each a function of its generator's state.

    ``clip(i)`` is asked for when clip i is first drawn. Where it is :class:`Unscorable`, another is drawn; ``left_out``
    is told of it once.
    """

    def __init__(
        self, count: int, clip: Callable[[int], FaceClip], left_out: Callable[[int, Unscorable], None]
    ) -> None:
        self._count, self._clip, self._left_out = count, clip, left_out
        self._known: dict[int, _Windows | None] = {}

    def sync(self, random: np.random.Generator, size: int) -> SyncBatch:
        """Speech of an anchor with its own faces or another window's, each with a chance of one half."""
        mels, faces = [], []
        labels = random.integers(0, 2, size)
        for label in labels:
            clip, anchor, other = self._drawn(random)
            mels.append(clip.mels(anchor, [1])[0])  # the window of speech begins with the anchor's own frame
            faces.append(clip.faces(anchor if label else other))
        return SyncBatch(_tensor(mels), _tensor(faces), torch.from_numpy(labels.astype(np.float32)))

    def faces(self, random: np.random.Generator, size: int) -> FaceBatch:
        """Anchors, with another window of the clip as reference."""
        per_frame, per_window, true, reference = [], [], [], []
        for _ in range(size):
            clip, anchor, other = self._drawn(random)
            per_frame.append(clip.mels(anchor, range(FRAMES)))
            per_window.append(clip.mels(anchor, [1])[0])
            true.append(clip.faces(anchor))
            reference.append(clip.faces(other))
        return FaceBatch(_tensor(per_frame), _tensor(per_window), _tensor(true), _tensor(reference))

    def _drawn(self, random: np.random.Generator) -> tuple[_Windows, int, int]:
        """
        Raises:
            DataError: no clip can be used.
        """
        while not self._none_is_left():
            windows = self._windows(int(random.integers(self._count)))
            if windows is not None:
                return windows, *windows.draw(random)
        raise DataError(
            f"none of {self._count} clips can be trained on",
            f"clips need two windows of {FRAMES} faces in a row with speech; see what is left out above.",
        )

    def _none_is_left(self) -> bool:
        return len(self._known) == self._count and all(windows is None for windows in self._known.values())

    def _windows(self, number: int) -> _Windows | None:
        if number not in self._known:
            try:
                self._known[number] = _Windows(self._clip(number))
            except Unscorable as error:
                self._known[number] = None
                self._left_out(number, error)
        return self._known[number]


def _tensor(arrays: Sequence[NDArray[np.generic]]) -> torch.Tensor:
    return torch.from_numpy(np.stack(arrays))
