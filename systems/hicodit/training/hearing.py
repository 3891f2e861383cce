"""What is heard of held-out clips while the model learns: sounds for TensorBoard, and what the metrics say of them."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import torch

from bench.api import Clip
from bench.systems.hicodit.joined import Joined
from bench.systems.hicodit.training.clips import Drawn
from bench.systems.hicodit.training.listen import Listener
from bench.systems.hicodit.training.speak import Line, sound, spoken
from bench.train_files import Sound

if TYPE_CHECKING:
    from bench.systems.hicodit.codec import Codec

_CLIPS = 8


class Hearing:
    """Lets a network say the first usable ones of ``clips``; only their videos are looked at."""

    def __init__(self, clips: Drawn, codec: Codec) -> None:
        self._clips, self._codec = clips, codec

    def __call__(self, joined: Joined, device: torch.device) -> tuple[dict[str, float], dict[str, Sound]]:
        """Figures ``eval_wer`` and ``eval_secs``, and sounds by the clips' ids; ``joined`` is in evaluation mode."""
        tokens = spoken(joined, [line for _, line in self._lines])
        waves = [sound(self._codec, one, device) for one in tokens]
        said = [(clip, wave) for (clip, _), wave in zip(self._lines, waves, strict=True)]
        figures = self._listener.figures(said, self._codec.sample_rate)
        sounds = {f"speech/{clip.id}": Sound(torch.from_numpy(wave), self._codec.sample_rate) for clip, wave in said}
        return {f"eval_{name}": value for name, value in figures.items()}, sounds

    @cached_property
    def _lines(self) -> list[tuple[Clip, Line]]:
        found: list[tuple[Clip, Line]] = []
        for index, clip in enumerate(self._clips.records.clips):
            item = self._clips.whole(index) if len(found) < _CLIPS else None
            if item is not None:
                found.append((clip, Line(clip.id, item)))
        return found

    @cached_property
    def _listener(self) -> Listener:
        return Listener([clip for clip, _ in self._lines])
