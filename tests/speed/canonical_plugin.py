"""The canonical metrics for the benchmark: weights by rule from ``.pth`` files, as the reference way has them.

The folder of the files is in the environment variable ``SPEED_WEIGHTS``. The face detector is S3FD, run on every
picture; since filled weights see no face, the boxes are dlib's. Every score has a part ``cpu_s``: the processor
seconds of its protocol in this process.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api import Failure, Reference, Score
from bench.metrics.lse.metric import DETECTOR_PARAMETERS, Lse
from bench.metrics.seeded import GAINS, SeededTwins
from bench.networks import Seeded

if TYPE_CHECKING:
    from bench.media import Media
    from bench.records import WeightFile

VARIABLE = "SPEED_WEIGHTS"


class FromFiles(Seeded):
    """Weights by rule, read from files of the same tensors."""

    def fill(self, module: Any, weight: WeightFile) -> Any:
        """See :meth:`bench.networks.WeightSource.fill`."""
        import torch

        found = torch.load(Path(os.environ[VARIABLE]) / weight.name, map_location="cpu", weights_only=True)
        module.load_state_dict(found.get("model_state_dict", found))
        return module.eval().requires_grad_(False)


class S3fdThenDlib:
    """S3FD on every picture, dlib's boxes for what comes after."""

    identity = "s3fd-run-dlib-hog"

    def __init__(self, weights: FromFiles, device: str) -> None:
        from bench.metrics.lse.dlib_boxes import DlibBoxes
        from bench.metrics.lse.s3fd import make_detector

        self._network = make_detector(weights, device, DETECTOR_PARAMETERS)
        self._boxes = DlibBoxes()

    def __call__(self, frames: Any, /) -> list[Any]:
        """See :class:`bench.metrics.lse.s3fd.Detect`."""
        if any(len(found) for found in self._network(frames)):
            raise RuntimeError("a filled network is not expected to be sure")
        return self._boxes(frames)


class CanonicalTwins(SeededTwins):
    """The seeded twins, with the detector's work done and the time of each protocol taken."""

    name = "canonical-speed"
    summary = "the canonical metrics with weights by rule, for the benchmark of their speed"

    def __init__(self) -> None:
        super().__init__()
        self._weights = FromFiles(GAINS)

    def load(self, device: str) -> None:
        """See :meth:`bench.api.Metric.load`."""
        super().load(device)
        lse = Lse(self._weights, S3fdThenDlib(self._weights, device))
        lse.load(device)
        self._metrics = (lse, *self._metrics[1:])

    def score(
        self, protocol_ids: Sequence[str], output: Media, reference: Media, truth: Reference
    ) -> Mapping[str, Score | Failure]:
        """One protocol after the other."""
        results: dict[str, Score | Failure] = {}
        for pid in protocol_ids:
            start = time.process_time()
            result = super().score([pid], output, reference, truth)[pid]
            if isinstance(result, Score):
                result = replace(result, parts={**result.parts, "cpu_s": time.process_time() - start})
            results[pid] = result
        return results
