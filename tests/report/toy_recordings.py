"""Two data sets of the same invented recordings: one may be shown to others, the other may not."""

from __future__ import annotations

import os
from pathlib import Path

from bench.api import Clip, Source
from bench.contracts import Dataset


class Open(Dataset):
    """Clips ``a`` and ``b``, whose files lie in the folder that the variable TOY_RECORDINGS names."""

    name = "open-recordings"
    licence = "anybody's"

    def clips(self, split, progress=None):
        folder = Path(os.environ["TOY_RECORDINGS"])
        return [
            Clip(
                clip_id, self.name, split, Source(folder / f"{clip_id}.mp4"), Source(folder / f"{clip_id}.wav"),
                f"words of {clip_id}", clip_id * 64, 25, speaker="s", width=64, height=64,
            )
            for clip_id in ("a", "b")
        ]  # fmt: skip

    def content_sha256(self, split):
        return "0" * 64

    def check(self, split, pattern=None, fast=False, progress=None):
        raise NotImplementedError


class Closed(Open):
    """The same under an agreement."""

    name = "closed-recordings"
    licence = "under agreement; no copies to others"
    redistributable = False
