"""The generator that ``bench train wav2lip`` has written, in the size of its configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.api import UsageError
from bench.trained import filled, regular

if TYPE_CHECKING:
    from bench.systems.wav2lip.generator import Wav2LipGenerator


def generator_of(path: Path) -> Wav2LipGenerator:
    """The generator of a file that the stage ``generator`` has made, in the size of its configuration, frozen.

    Raises:
        UsageError, DataError: another file, or a damaged one.
    """
    from bench.systems.wav2lip.generator import Wav2LipGenerator
    from bench.systems.wav2lip.training_options import SIZES
    from bench.weights_file import read_header

    config = read_header(regular(path, "trained")).metadata.get("config", "")
    if config not in SIZES:
        raise UsageError(
            f"--set trained={path} was not written by `bench train wav2lip`",
            "official files come by `bench weights add`.",
        )
    return filled(Wav2LipGenerator(SIZES[config].sizes), path, "generator", "trained")
