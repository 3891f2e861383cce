"""A control looks at the truth, so it must not be ranked as a system."""

from bench.api import Control, Output


class Cheat(Control):
    """Copies the truth."""

    name = "cheat"
    version = "1"
    tasks = ("vts",)
    tier = "canonical"

    def generate_from_truth(self, requests, truths):
        return [Output(audio=truth.audio.path) for truth in truths]
