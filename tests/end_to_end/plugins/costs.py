"""Two systems whose costs are known: one that holds much memory for good, and one that is spared seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.api import Audio, Output, Request, System, charge

HELD_MIB = 200
SPARED_S = 50.0
_held: list[Any] = []  # as an imported library is: it stays when the system goes


def tone(request: Request) -> Output:
    import numpy as np

    samples = 0.1 * np.sin(np.arange((request.n_frames or 1) * 640) / 20)
    return Output(audio=Audio(samples.astype(np.float32), 16_000))


class HoldsMuch(System):
    """A tone by way of much memory."""

    name = "holds-much"
    version = "1"
    tasks = ("vts",)

    def load(self, device: str, dtype: str) -> None:
        import numpy as np

        _held.append(np.ones(HELD_MIB << 20, np.uint8))

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        return [tone(request) for request in requests]


class FindsReady(System):
    """The same tone, which somebody has paid for."""

    name = "finds-ready"
    version = "1"
    tasks = ("vts",)

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        for _ in requests:
            charge(SPARED_S)
        return [tone(request) for request in requests]
