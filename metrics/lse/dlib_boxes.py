"""A stand-in for S3FD: dlib's boxes, for tests and for the regression table of seeded weights.

S3FD filled by the rule ``detfill-1`` sees no faces, so that nothing behind it could be tried without the official
weights. No protocol uses this detector; numbers made with it are not LSE.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.metrics.lse.s3fd import Boxes

_SURE = 1.0  # dlib's scores are no probabilities; what it reports counts as certain


class DlibBoxes:
    """dlib's frontal faces (HOG) of each frame, with score 1; see :class:`bench.metrics.lse.s3fd.Detect`."""

    identity = "dlib-hog"

    def __call__(self, frames: NDArray[np.uint8], /) -> list[Boxes]:
        """Boxes (n, 5) of each frame of (T, H, W, 3), most confident first; far ends lie outside of the last pixel."""
        from bench.metrics.faces import detect

        return [
            np.array([(a, b, c + 1, d + 1, _SURE) for a, b, c, d in detect(frame)], np.float64).reshape(-1, 5)
            for frame in frames
        ]


def dlib_detect(parameters: Mapping[str, Any]) -> DlibBoxes:
    """The stand-in for the detector of a protocol with these ``parameters``, which it has no use for.

    Same call as :func:`bench.metrics.lse.s3fd.make_detector` after its weights; not for scores.
    """
    return DlibBoxes()
