"""From a clip to face crops with their stretch of sound: detector, cuts, tracks, crops (metrics.md 4.2).

Serves ``lse/syncnet-v2-pipeline@1``, ``-pipeline-mem@1`` and ``-pipeline-k5@1``, which differ in their
parameters alone. Source: ``joonson/syncnet_python: run_pipeline.py``.

The clip is looked at three times, in pieces of bounded memory: for cuts, for faces, and for crops. Faces are
looked for only where they can become a track: in shots of at least ``scene_min_frames`` frames of clips
with more than ``min_track`` of them, and once for frames that are equal to the one before. None of it
changes a track. Cuts and tracks are a feature of the video; the crops are not kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.api import Unscorable
from bench.media import resample, to_int16
from bench.metrics.lse.face_crop import CropPath, CropRules, crop_path, cut_out, resized
from bench.metrics.lse.s3fd_declare import AVI, JPEG, JPEG_Q2, XVID
from bench.metrics.lse.scenes import SceneCuts, SceneRules
from bench.metrics.lse.tracks import Track, TrackRules, face_tracks, looked_at

if TYPE_CHECKING:
    from bench.media import Media
    from bench.metrics.lse.s3fd import Boxes, Detect
    from bench.records import Array, Frames

    Pcm = NDArray[np.int16]

_PIECE = 16  # frames that go through a codec, or to the detector, at a time
_SETTINGS = ("detector", "scenes", "track", "lossy", "detect_every", "between")  # those that decide the tracks


class TrackCrop:
    """One face over consecutive frames, and the sound of that time.

    ``frames`` uint8 RGB (T, 224, 224, 3), ``n_frames`` = T, ``audio`` int16 (N,) at 16 kHz (fewer than 640 T
    samples where the sound ends early), ``first``: the track's first frame in the clip. ``notes``, all of
    which add up over tracks: ``n_detections``, ``duplicates_dropped`` (boxes of a frame that had one already),
    ``short_audio`` (1: the sound ends before the track).

    ``frames`` may be given as a function; then pictures are cut at each access and not kept here.
    """

    def __init__(
        self,
        frames: Frames | Callable[[], Frames],
        audio: Pcm,
        first: int,
        notes: Mapping[str, float],
        n_frames: int | None = None,
    ) -> None:
        self._frames = frames
        self.audio, self.first, self.notes = audio, first, notes
        self.n_frames = len(self.frames) if n_frames is None else n_frames

    @property
    def frames(self) -> Frames:
        """The pictures; see the class."""
        return self._frames() if callable(self._frames) else self._frames


@dataclass(frozen=True, slots=True)
class Found:
    """What the video alone decides: its ``tracks`` by their last frame, and why there may be none."""

    tracks: tuple[Track, ...]
    n_frames: int
    n_looked_at: int  # frames that the detector saw
    n_boxes: int


def track_crops(media: Media, parameters: Mapping[str, Any], detect: Detect) -> list[TrackCrop]:
    """All tracks of a clip, by their last frame; never an empty list.

    Taking ``frames`` of the tracks in this order walks over the video once.

    Raises:
        Unscorable: ``no_face`` (the detector found nothing), ``no_track`` (faces, but no track of more than 100
            detections and 100 px; or no shot, or clip, that is long enough), and what reading the streams raises.
    """
    audio = _sound(media, parameters)  # first: it is quick, and may save the work on pictures
    found = find_tracks(media, parameters, detect)
    _require_tracks(found, TrackRules.of(parameters["track"]))
    walk = _Walk(media, parameters, found.tracks)
    per_frame, rest = divmod(int(parameters["sample_rate"]), int(parameters["fps"]))
    if rest:
        raise ValueError("sample_rate must be a multiple of fps")
    crops = []
    for index, track in enumerate(found.tracks):
        first, end = int(track.frames[0]), int(track.frames[-1]) + 1
        sound = audio[first * per_frame : end * per_frame]
        notes = {
            "n_detections": float(track.detections),
            "duplicates_dropped": float(track.duplicates),
            "short_audio": float(sound.size < (end - first) * per_frame),
        }
        crops.append(TrackCrop(walk.taker(index), sound, first, notes, end - first))
    return crops


def _sound(media: Media, parameters: Mapping[str, Any]) -> Pcm:
    """The clip's sound as the reference writes it: 16-bit values at 16 kHz, after MP3 where the protocol is lossy."""
    rate, method = int(parameters["sample_rate"]), parameters["resampler"]
    if AVI not in _generations(parameters):
        return to_int16(media.audio(rate, method))
    from bench.metrics.lse.lossy import mp3

    samples, coded_rate = mp3(media.audio(), media.audio_rate)
    return to_int16(resample(samples, coded_rate, rate, method))


def _generations(parameters: Mapping[str, Any]) -> tuple[str, ...]:
    """The protocol's lossy generations: none or all four."""
    named = tuple(parameters["lossy"])
    if named not in ((), (AVI, JPEG_Q2, XVID, JPEG)):
        raise ValueError(f"lossy generations are all four or none, not {named}")
    return named


def _require_tracks(found: Found, rules: TrackRules) -> None:
    if found.tracks:
        return
    least = f"a track needs more than {rules.min_track:g} detections"
    if found.n_frames <= rules.min_track:
        raise Unscorable("no_track", f"{found.n_frames} frames; {least} (over 4 s at 25 fps)")
    if not found.n_looked_at:
        raise Unscorable("no_track", f"no shot of {found.n_frames} frames is long enough; {least}")
    if not found.n_boxes:
        raise Unscorable("no_face", f"no face on any of {found.n_looked_at} frames")
    raise Unscorable(
        "no_track",
        f"{found.n_boxes} boxes on {found.n_looked_at} frames; {least}, {rules.min_face_size:g} px wide or high",
    )


def find_tracks(media: Media, parameters: Mapping[str, Any], detect: Detect) -> Found:
    """The tracks of a clip, from the feature ``video:lse-tracks-<settings>-<detector>@1``."""
    settings = {name: parameters[name] for name in _SETTINGS if name in parameters}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
    key = f"video:lse-tracks-{digest}-{detect.identity}@1"
    return _unpacked(media.feature(key, lambda: _packed(_find(media, parameters, detect))))


def _find(media: Media, parameters: Mapping[str, Any], detect: Detect) -> Found:
    step = int(parameters.get("detect_every", 1))
    rules = TrackRules.of(parameters["track"], step=step)
    n_frames = media.n_frames
    if n_frames <= rules.min_track:
        return Found((), n_frames, 0, 0)
    lossy = bool(_generations(parameters))
    cuts = SceneCuts(SceneRules.of(parameters["scenes"]))
    for _, shown, _ in _pictures(media, lossy):
        cuts.feed(shown)
    scenes = cuts.scenes(int(parameters["track"]["scene_min_frames"]))
    wanted = [looked_at(scene, step) for scene in scenes]
    boxes = _detected(media, lossy, {frame for frames in wanted for frame in frames}, detect)
    tracks = [track for frames in wanted for track in face_tracks([(f, boxes[f]) for f in frames], rules)]
    tracks.sort(key=lambda track: int(track.frames[-1]))  # stable: of equal ends in the order of passes
    return Found(tuple(tracks), n_frames, len(boxes), sum(len(rows) for rows in boxes.values()))


def _detected(media: Media, lossy: bool, wanted: set[int], detect: Detect) -> dict[int, Boxes]:
    """The boxes of the wanted frames; an equal frame that follows has equal boxes."""
    boxes: dict[int, Boxes] = {}
    before: tuple[int, NDArray[np.uint8]] | None = None
    end = max(wanted, default=-1) + 1
    for first, _, pictures in _pictures(media, lossy):
        if first >= end:
            break
        fresh: list[int] = []
        same: dict[int, int] = {}
        for index in (i for i in range(first, first + len(pictures)) if i in wanted):
            picture = pictures[index - first]
            if before is not None and np.array_equal(before[1], picture):
                same[index] = before[0]
            else:
                fresh.append(index)
                before = index, picture
        if fresh:
            found = detect(pictures[[index - first for index in fresh]])
            boxes |= dict(zip(fresh, found, strict=True))
        boxes |= {index: boxes[earlier] for index, earlier in same.items()}
    return boxes


def _pictures(media: Media, lossy: bool) -> Iterator[tuple[int, Frames, Frames]]:
    """First index, pictures for cuts, pictures for detector and crop, in pieces of a few frames."""
    if not lossy:
        for first, chunk in media.frame_chunks():
            for start in range(0, len(chunk), _PIECE):
                piece = chunk[start : start + _PIECE]
                yield first + start, piece, piece
        return
    first, held = 0, []
    for pair in _through_avi(media):
        held.append(pair)
        if len(held) == _PIECE:
            yield _stacked(first, held)
            first, held = first + len(held), []
    if held:
        yield _stacked(first, held)


def _through_avi(media: Media) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    from bench.metrics.lse.lossy import AviJpeg

    codec = AviJpeg()
    for _, chunk in media.frame_chunks():
        for picture in chunk:
            yield from codec.feed(picture)
    yield from codec.end()


def _stacked(first: int, pairs: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8]]]) -> tuple[int, Frames, Frames]:
    return first, np.stack([shown for shown, _ in pairs]), np.stack([jpeg for _, jpeg in pairs])


@dataclass(slots=True)
class _Cutting:
    """A track whose crops are being made."""

    path: CropPath
    crops: Frames
    done: int = field(default=0)


class _Walk:
    """Cuts the tracks out of the video. Asked for them in order, it goes over the video once."""

    def __init__(self, media: Media, parameters: Mapping[str, Any], tracks: Sequence[Track]) -> None:
        self._media, self._tracks = media, tracks
        self._lossy = bool(_generations(parameters))
        self._rules = CropRules.of(parameters["crop"])
        self._next = 0
        self._crops: Iterator[Frames] = iter(())

    def taker(self, index: int) -> Callable[[], Frames]:
        """A function that gives the crops (T, 224, 224, 3) of a track."""
        return lambda: self._take(index)

    def _take(self, index: int) -> Frames:
        if self._next == 0 or index < self._next:
            self._next, self._crops = 0, self._all()
        for crops in self._crops:
            self._next += 1
            if self._next > index:
                return crops
        raise Unscorable("decode_error", "the video ended before its tracks")

    def _all(self) -> Iterator[Frames]:
        """The crops of all tracks, by their last frames; only tracks that have begun take memory."""
        begun: dict[int, _Cutting] = {}
        following = 0
        for first, _, pictures in _pictures(self._media, self._lossy):
            for index, track in enumerate(self._tracks):
                if track.frames[0] < first + len(pictures) and track.frames[-1] >= first:
                    cutting = begun.get(index) or begun.setdefault(index, self._begin(track))
                    self._cut(cutting, track, first, pictures)
            while following in begun and begun[following].done == len(self._tracks[following].frames):
                crops = begun.pop(following).crops
                following += 1
                yield self._finished(crops)
            if following == len(self._tracks):
                return

    def _begin(self, track: Track) -> _Cutting:
        size = self._rules.size
        return _Cutting(crop_path(track.boxes, self._rules), np.empty((len(track.frames), size, size, 3), np.uint8))

    def _cut(self, cutting: _Cutting, track: Track, first: int, pictures: Frames) -> None:
        begin = int(track.frames[0])
        end = min(first + len(pictures), begin + len(track.frames))
        for frame in range(max(first, begin), end):
            face = cut_out(pictures[frame - first], cutting.path.rects[frame - begin], self._rules.pad_value)
            cutting.crops[frame - begin] = resized(face, self._rules.size)
            cutting.done += 1

    def _finished(self, crops: Frames) -> Frames:
        if not self._lossy:
            return crops
        from bench.metrics.lse.lossy import xvid_jpeg

        return xvid_jpeg(crops)


def _packed(found: Found) -> Mapping[str, Array]:
    tracks = found.tracks
    return {
        "boxes": np.concatenate([np.zeros((0, 4)), *(track.boxes for track in tracks)]),
        "tracks": np.array(
            [(t.frames[0], len(t.frames), t.detections, t.duplicates) for t in tracks], np.int64
        ).reshape(-1, 4),
        "counts": np.array([found.n_frames, found.n_looked_at, found.n_boxes], np.int64),
    }


def _unpacked(arrays: Mapping[str, Array]) -> Found:
    tracks, start = [], 0
    for first, length, detections, duplicates in arrays["tracks"].tolist():
        frames = np.arange(first, first + length, dtype=np.int64)
        tracks.append(Track(frames, arrays["boxes"][start : start + length], detections, duplicates))
        start += length
    n_frames, n_looked_at, n_boxes = (int(count) for count in arrays["counts"])
    return Found(tuple(tracks), n_frames, n_looked_at, n_boxes)
