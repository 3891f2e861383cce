"""Which frames of an output are compared with which of the reference (metrics.md 0.5).

Frames of equal index on the 25 fps grid, over the common length. Where the system had to keep the
reference's length (``Reference.own_length``) a difference of more than ``max(5 frames, 5 %)`` of
the reference is ``length_mismatch``; elsewhere unequal lengths are expected and only flagged.
Different picture sizes are ``shape_mismatch``; no common frame is ``too_short``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.api import Reference, Unscorable

if TYPE_CHECKING:
    from bench.media import Media
    from bench.records import Frames

SLACK_FRAMES = 5
SLACK_SHARE = 0.05  # of the reference's frames


@dataclass(frozen=True, slots=True)
class Pairing:
    """``n`` frames are compared; the flags stand in the score's parts as 0 or 1."""

    n: int
    length_differs: bool
    fps_converted: bool

    def parts(self) -> dict[str, float]:
        """The flags as parts of a score."""
        return {"length_differs": float(self.length_differs), "fps_converted": float(self.fps_converted)}


def pair_lengths(n_generated: int, n_reference: int, own_length: bool, fps_converted: bool = False) -> Pairing:
    """Pair two videos by their numbers of frames.

    Raises:
        Unscorable: ``length_mismatch`` or ``too_short``.
    """
    difference = abs(n_generated - n_reference)
    if own_length and difference > max(SLACK_FRAMES, SLACK_SHARE * n_reference):
        raise Unscorable("length_mismatch", f"{n_generated} frames, the reference has {n_reference}")
    n = min(n_generated, n_reference)
    if n < 1:
        raise Unscorable("too_short", f"{n_generated} frames, the reference has {n_reference}")
    return Pairing(n, difference > 0, fps_converted)


def require_same_size(generated: tuple[int, ...], reference: tuple[int, ...]) -> None:
    """Raise ``shape_mismatch`` unless two pictures have the same (height, width)."""
    if generated[:2] != reference[:2]:
        gen, ref = (f"{shape[1]}x{shape[0]}" for shape in (generated, reference))
        raise Unscorable("shape_mismatch", f"the output is {gen}, the reference {ref}")


@contextmanager
def of_reference(truth: Reference) -> Iterator[None]:
    """What fails inside is the reference's fault: a missing video is ``missing_reference``, and the detail says so."""
    if truth.video is None:
        raise Unscorable("missing_reference", f"clip {truth.clip_id} has no video")
    try:
        yield
    except Unscorable as error:
        kind = "missing_reference" if error.kind == "no_video_stream" else error.kind
        raise Unscorable(kind, f"reference of {truth.clip_id}: {error.detail or error.kind}") from error


def pair(output: Media, reference: Media, truth: Reference) -> Pairing:
    """Pair an output's video with the reference's. Raises ``Unscorable`` as the head of this module says."""
    n_generated, converted = output.n_frames, output.fps_converted
    with of_reference(truth):
        n_reference, converted_too = reference.n_frames, reference.fps_converted
    return pair_lengths(n_generated, n_reference, truth.own_length, converted or converted_too)


def frame_pairs(output: Media, reference: Media, pairing: Pairing) -> Iterator[tuple[int, Frames, Frames]]:
    """Start index, generated and reference frames in step, in pieces of bounded memory.

    Raises:
        Unscorable: ``shape_mismatch``.
    """
    generated, expected = _Pieces(output), _Pieces(reference)
    start = 0
    while start < pairing.n:
        take = min(generated.ready(), expected.ready(), pairing.n - start)
        if take < 1:
            raise Unscorable("decode_error", f"the video ended at frame {start} of {pairing.n}")
        gen, ref = generated.take(take), expected.take(take)
        require_same_size(gen.shape[1:], ref.shape[1:])
        yield start, gen, ref
        start += take


class _Pieces:
    """Hands out the frames of a medium in pieces of any wanted size up to :meth:`ready`."""

    def __init__(self, media: Media) -> None:
        self._chunks = iter(media.frame_chunks())
        self._rest: Frames | None = None

    def ready(self) -> int:
        """How many frames can be taken now; 0 at the end."""
        while self._rest is None or len(self._rest) == 0:
            piece = next(self._chunks, None)
            if piece is None:
                return 0
            self._rest = piece[1]
        return len(self._rest)

    def take(self, n: int) -> Frames:
        """The next ``n`` frames, at most :meth:`ready` of them."""
        if self._rest is None:
            raise ValueError("take() before ready()")
        piece, self._rest = self._rest[:n], self._rest[n:]
        return piece
