"""What the declarations of video protocols share; imports nothing heavy."""

from __future__ import annotations

from typing import Any

#: Protocols that compare frames of an output with frames of the reference.
PAIR_NEEDS = frozenset({"video", "reference_video"})
PAIR_FAILURES = (
    "no_video_stream",
    "length_mismatch",
    "shape_mismatch",
    "missing_output",
    "missing_reference",
    "too_short",
)
FACE_FAILURES = (*PAIR_FAILURES, "no_face")

#: How frames are paired (the code is :mod:`bench.metrics.pairing`), and what a picture is.
FRAME_PAIRS: dict[str, Any] = {
    "pairing": "same frame index on the 25 fps grid over min length; length_mismatch beyond max(5 frames, 5%) "
    "only for a2v with matched real audio, else flag length_differs",
    "input": "uint8 RGB",
}

EVERY_FRAME = "every frame of the 25 fps grid"
EVERY_FIFTH_FRAME = "0, 5, 10, ... of the 25 fps grid"


def face_missing(protocol_id: str) -> list[str]:
    """What keeps a protocol on faces (``-face`` in its id) from running here; full frames need nothing."""
    if "-face@" not in protocol_id:
        return []
    from bench.metrics.declare import DLIB_SHAPE_68
    from bench.metrics.faces import missing_models

    return missing_models(DLIB_SHAPE_68)
