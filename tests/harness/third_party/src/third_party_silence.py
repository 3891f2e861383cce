"""A system in a distribution of its own: near silence of the video's length."""

from collections.abc import Sequence

from bench.api import Audio, Output, Request, System


class Silence(System):
    """Very quiet noise."""

    name = "third-party-silence"
    version = "1"
    tasks = ("vts",)
    summary = "very quiet noise"

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        import numpy as np

        return [
            Output(
                audio=Audio((1e-3 * r.generator().standard_normal((r.n_frames or 1) * 640)).astype(np.float32), 16_000)
            )
            for r in requests
        ]
