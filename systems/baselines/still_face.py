"""A face that does not speak: the portrait held for the length of the driving audio."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.api import FPS, Failure, Output, Request, Source, System, Unscorable

if TYPE_CHECKING:
    from bench.records import Frames


class StillFace(System):
    """The given portrait, held: what identity and picture metrics say of no animation at all."""

    name = "still-face"
    version = "1"
    tasks = ("a2v",)
    uses = frozenset({"identity"})
    portrait = True
    summary = "the first frame, held for the length of the audio"

    def generate(self, requests: Sequence[Request]) -> Sequence[Output | Failure]:
        """One still video per request."""
        return [_held(request) for request in requests]


def _held(request: Request) -> Output | Failure:
    import numpy as np

    if request.identity is None:
        return Failure("missing_reference", "no portrait")
    try:
        picture = _picture(request)
        count = request.n_frames if request.n_frames is not None else _audio_frames(request)
    except Unscorable as error:
        return Failure(error.kind, error.detail)
    # a view: the frames share one picture's memory
    return Output(video=np.broadcast_to(picture, (count, *picture.shape)))


def _picture(request: Request) -> Frames:
    from bench import media
    from bench.systems.baselines.pictures import first_frame

    if request.identity is None:
        raise Unscorable("missing_reference", "no portrait")
    if request.identity.suffix == ".png":
        return media.read_png(request.identity)
    return first_frame(Source(request.identity))


def _audio_frames(request: Request) -> int:
    """Frames that the driving audio fills, at least one."""
    from bench import media

    if request.audio is None:
        raise Unscorable("missing_reference", "no driving audio")
    audio = media.decode_audio(Source(request.audio))
    return max(1, round(len(audio.samples) / audio.rate * FPS))
