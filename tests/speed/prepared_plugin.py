"""A system that returns prepared media at once: what is left of ``generate`` is the harness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from bench.api import Audio, Failure, Output, Request, System


class Prepared(System):
    """Hands out the arrays ``frames-<k>.npy`` and ``audio-<k>.npy`` of its folder, by the request's seed."""

    name = "prepared"
    version = "1"
    tasks = ("t2av", "a2v")
    local_settings: ClassVar[frozenset[str]] = frozenset({"folder"})

    def __init__(self, settings: Mapping[str, Any] | None = None) -> None:
        super().__init__(settings)
        self._media: list[Output] = []

    def load(self, device: str, dtype: str) -> None:
        """Read the arrays."""
        import numpy as np

        folder = Path(str(self.settings["folder"]))
        self._media = [
            Output(np.load(path), Audio(np.load(path.with_name(path.name.replace("frames", "audio"))), 16_000))
            for path in sorted(folder.glob("frames-*.npy"))
        ]

    def generate(self, requests: Sequence[Request]) -> Sequence[Output | Failure]:
        """The prepared media of each request."""
        return [self._media[request.seed % len(self._media)] for request in requests]
