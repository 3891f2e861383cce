"""A system that says nothing but what it heard: the reference voice, or a hum where it is given none."""

from __future__ import annotations

from collections.abc import Sequence

from bench.api import Audio, Failure, Output, Request, System


class Parrot(System):
    """The reference voice, as it was given."""

    name = "parrot"
    version = "1"
    tasks = ("vts",)
    uses = frozenset({"voice"})
    summary = "the reference voice"

    def generate(self, requests: Sequence[Request]) -> list[Output | Failure]:
        return [Output(audio=request.voice or self._hum(request)) for request in requests]

    @staticmethod
    def _hum(request: Request) -> Audio:
        import numpy as np

        count = (request.n_frames or 1) * 640
        return Audio((0.1 * np.sin(np.arange(count) * 0.05)).astype(np.float32), 16_000)
