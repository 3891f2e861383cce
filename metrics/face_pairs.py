"""Which frames two face tracks share, and when that is too little (metrics.md 8, Edge)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.api import Unscorable
from bench.metrics.faces import FaceTrack
from bench.metrics.pairing import Pairing, pair_lengths, require_same_size


@dataclass(frozen=True)
class FacePairs:
    """``frames``: indices where both videos show a face; ``n_noface``: paired frames where one does not."""

    frames: NDArray[np.intp]
    n_noface: int
    n_multiple: int
    pairing: Pairing

    def parts(self) -> dict[str, float]:
        """Counts and flags as parts of a score."""
        return {
            "n_frames": float(len(self.frames)),
            "n_frames_noface": float(self.n_noface),
            "n_frames_multiple": float(self.n_multiple),
            **self.pairing.parts(),
        }


def pair_faces(generated: FaceTrack, reference: FaceTrack, own_length: bool, step: int = 1) -> FacePairs:
    """Frames 0, step, 2·step, … of the common length where both videos show a face.

    Raises:
        Unscorable: lengths or sizes differ (see :mod:`bench.metrics.pairing`), or ``no_face`` when
            fewer than half of the frames are left.
    """
    converted = generated.fps_converted or reference.fps_converted
    pairing = pair_lengths(generated.n_frames, reference.n_frames, own_length, converted)
    require_same_size(generated.size, reference.size)
    common = slice(0, pairing.n, step)
    both = generated.found[common] & reference.found[common]
    several = np.maximum(generated.n_faces[common], reference.n_faces[common]) > 1
    frames = np.flatnonzero(both) * step
    if 2 * len(frames) < len(both):
        gen, ref = (np.count_nonzero(~track.found[common]) for track in (generated, reference))
        detail = f"of {len(both)} frames {gen} of the output and {ref} of the reference show no face"
        raise Unscorable("no_face", detail)
    return FacePairs(frames, len(both) - len(frames), int(np.count_nonzero(several)), pairing)
