"""The two controls that bound every table: the truth itself, and the truth of another clip."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.api import (
    FPS,
    MADE,
    TASKS,
    Audio,
    Clip,
    Control,
    Failure,
    Output,
    Reference,
    Request,
    Source,
    Task,
    Unscorable,
)

if TYPE_CHECKING:
    from bench.records import Frames

#: Seed of the shuffle. It is not that of ``cross`` pairs: else the shuffled video of a cross pair would be
#: the one that belongs to its driving audio, and the control would be in perfect sync.
SHUFFLE_SEED = 1


class GroundTruth(Control):
    """The reference's own streams, through the codec in which all outputs are stored."""

    name = "ground-truth"
    version = "1"
    tasks = TASKS
    summary = "upper bound: the reference's own streams through the codec"

    def generate_from_truth(
        self, requests: Sequence[Request], truths: Sequence[Reference]
    ) -> Sequence[Output | Failure]:
        """The streams of the task; a video is cut to the length of its driving stream."""
        return [output_of(request, truth.video, truth.audio) for request, truth in zip(requests, truths, strict=True)]


class Shuffled(Control):
    """Another clip's truth: every system must beat it.

    The other clip is that of :func:`bench.pairs.derange` (other speakers wherever there are any)
    with a seed of its own; it depends on the whole split alone. Speech keeps the other clip's
    length. A video gets the length of its driving audio (cut, or played back and forth: no jump
    and no frozen picture) and the picture size of the clip that it stands for.
    """

    name = "shuffled"
    version = "1"
    tasks = TASKS
    summary = "another clip's truth: what everything must beat"

    def prepare(self, clips: Sequence[Clip]) -> None:
        """Pair every clip of the split with another one."""
        from bench import pairs

        self._other: dict[str, Clip] = {}
        self._clips = {clip.id: clip for clip in clips}
        if len(clips) > 1:
            shift = pairs.derange([clip.id for clip in clips], [clip.identity for clip in clips], SHUFFLE_SEED)
            self._other = {clip.id: clips[index] for clip, index in zip(clips, shift.audio, strict=True)}

    def generate_from_truth(
        self, requests: Sequence[Request], truths: Sequence[Reference]
    ) -> Sequence[Output | Failure]:
        """The other clip's streams of the task."""
        return [self._shuffled(request, truth) for request, truth in zip(requests, truths, strict=True)]

    def _shuffled(self, request: Request, truth: Reference) -> Output | Failure:
        other = self._find(truth)
        if other is None:
            return Failure("missing_reference", "the split has no other clip to take the truth from")
        return output_of(request, other.video, other.audio, like=truth.video)

    def _find(self, truth: Reference) -> Clip | None:
        """The paired clip; another one, chosen by hash, where that is the very truth (``cross`` pairs, doubles)."""
        own = self._clips.get(truth.clip_id)
        other = self._other.get(truth.clip_id)
        if other is None or not _is_truth(other, own, truth):
            return other
        usable = (clip for clip in self._clips.values() if not _is_truth(clip, own, truth))
        return min(usable, key=lambda clip: _rank(clip, truth), default=None)


def _rank(clip: Clip, truth: Reference) -> tuple[bool, str]:
    """Other speakers first, then by a hash of the two ids."""
    same_speaker = clip.identity is not None and clip.identity == truth.speaker
    return same_speaker, hashlib.sha256(f"{truth.clip_id}:{clip.id}".encode()).hexdigest()


def _is_truth(other: Clip, own: Clip | None, truth: Reference) -> bool:
    same_audio = other.audio is not None and other.audio == truth.audio
    same_content = own is not None and other.content_sha256 == own.content_sha256
    return other.id == truth.clip_id or same_audio or same_content


def output_of(
    request: Request, video: Source | None, audio: Source | None, like: Source | None = None
) -> Output | Failure:
    """The streams that ``request``'s task makes, taken from ``video`` and ``audio``.

    Whole files are named, not decoded; parts of files are decoded. ``like``: bring pictures to the size of that video.
    """
    made = MADE[request.task]
    streams: Mapping[str, Source | None] = {"video": video, "audio": audio}
    for name in sorted(made):
        if streams[name] is None:
            return Failure(f"no_{name}_stream", "the clip that it is taken from has none")
    try:
        return Output(
            video=_video(video, request.task, request.n_frames, like) if video and "video" in made else None,
            audio=_audio(audio) if audio and "audio" in made else None,
        )
    except Unscorable as error:
        return Failure(error.kind, error.detail)


def _is_whole(source: Source) -> bool:
    return source.start is None and source.end is None and source.crop is None


def _video(source: Source, task: Task, n_frames: int | None, like: Source | None) -> Frames | Path:
    from bench import media
    from bench.systems.baselines.pictures import fit_length, fit_size, size_of

    if _is_whole(source) and (task != "a2v" or (like is None and _has_length(source, n_frames))):
        return source.path
    frames = media.decode_video(source).frames
    if like is not None and task == "a2v":
        frames = fit_size(frames, size_of(like))
    return fit_length(frames, n_frames if task == "a2v" else None)


def _has_length(source: Source, n_frames: int | None) -> bool:
    """Whether the file's header tells that it need not be cut: then nothing of it is held in memory."""
    from bench import media

    known = media.probe(source.path)
    return known.fps == FPS and known.frames == n_frames


def _audio(source: Source) -> Audio | Path:
    from bench import media

    return source.path if _is_whole(source) else media.decode_audio(source)
