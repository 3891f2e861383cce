"""Clips through detector, cuts, tracks and crops; and the lossy generations."""

from __future__ import annotations

import io
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from video_helpers import ArrayMedia

from bench.api import Unscorable
from bench.metrics.lse import lossy
from bench.metrics.lse.dlib_boxes import dlib_detect
from bench.metrics.lse.pipeline import TrackCrop, find_tracks, track_crops
from bench.metrics.lse.s3fd_declare import pipeline_parameters

BASE: dict[str, Any] = {"sample_rate": 16000, "resampler": "swr", "fps": 25}
MEM: dict[str, Any] = {**BASE, **pipeline_parameters()}
K5: dict[str, Any] = {**BASE, **pipeline_parameters(detect_every=5)}
LOSSY: dict[str, Any] = {**BASE, **pipeline_parameters(lossy=True)}


class Sound(ArrayMedia):
    """With the rate that a lossy protocol asks for."""

    @property
    def audio_rate(self) -> int:
        return 16000


class Blobs:
    """Sees bright squares; counts the frames that it was shown."""

    identity = "blobs"

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, frames: Any, /) -> list[Any]:
        self.seen += len(frames)
        return [self._boxes(frame) for frame in frames]

    def _boxes(self, frame: Any) -> Any:
        n, _, stats, _ = cv2.connectedComponentsWithStats((frame[..., 1] > 180).astype(np.uint8))
        rows = [(x, y, x + w, y + h, 1.0) for x, y, w, h, area in stats[1:n] if area > 400]
        return np.array(rows, np.float64).reshape(-1, 5)


def squares(n: int, *, x: Any = 20.0, side: int = 110, second: int | None = None, width: int = 300) -> Any:
    """A bright square that drifts over a dark, faintly noisy picture; a ``second`` one at that column."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 30, (n, 140, width, 1)).astype(np.uint8).repeat(3, axis=3)  # grey: no hue
    for k, left in enumerate(np.broadcast_to(np.asarray(x), n).astype(int)):
        frames[k, 15 : 15 + side, left : left + side] = 200 + np.arange(side)[:, None] % 50
        if second is not None:
            frames[k, 20:125, second : second + 105] = 190
    return frames


def coloured(frames: Any, start: int) -> Any:
    """Another shot from frame ``start`` on: the dark background is brown there."""
    frames[start:][frames[start:, ..., 0] < 40] = (150, 60, 20)
    return frames


def noise(n_frames: float) -> Any:
    return np.random.default_rng(1).normal(0, 0.1, int(n_frames * 640)).astype(np.float32)


def clip(frames: Any, **how: Any) -> Sound:
    return Sound(frames, noise(len(frames)), **how)


def pcm(media: ArrayMedia) -> Any:
    return np.clip(np.rint(media.audio().astype(float) * 32768), -32768, 32767).astype(np.int16)


def test_a_drifting_face_gives_one_track_with_its_sound() -> None:
    media = clip(squares(120, x=20 + np.arange(120) * 0.5))
    (track,) = track_crops(media, MEM, Blobs())
    assert (track.first, track.n_frames, track.audio.dtype) == (0, 120, np.int16)
    assert track.frames.shape == (120, 224, 224, 3) and track.frames.dtype == np.uint8
    assert np.array_equal(track.audio, pcm(media))
    assert track.notes == {"n_detections": 120.0, "duplicates_dropped": 0.0, "short_audio": 0.0}
    # s = 55: rows from 15 to 70 + 99, columns 77 to both sides of the middle; compare with a plain slice
    left = int(20 + 60 * 0.5)
    middle = np.median([int(20 + k * 0.5) for k in range(54, 67)]) + 55
    assert abs(left + 55 - middle) <= 0.5
    bordered = np.pad(media.frames[60], ((99, 99), (99, 99), (0, 0)), constant_values=110)
    face = bordered[114 : 114 + 154, int(middle + 99 - 77) : int(middle + 99 + 77)]
    assert np.array_equal(track.frames[60], cv2.resize(face, (224, 224)))


@pytest.mark.parametrize("chunk", [1, 7, 50])
def test_pieces_of_the_video_make_no_difference(chunk: int) -> None:
    frames = squares(115, x=20 + np.arange(115) * 0.3, second=180)
    whole, pieces = track_crops(clip(frames), MEM, Blobs()), track_crops(clip(frames, chunk=chunk), MEM, Blobs())
    assert len(whole) == len(pieces) == 2
    for a, b in zip(whole, pieces, strict=True):
        assert np.array_equal(a.frames, b.frames) and np.array_equal(a.audio, b.audio)


def test_two_faces_are_two_tracks_in_any_order_of_asking() -> None:
    frames = squares(130, second=180)
    frames[110:, :, 170:] = 5  # the second face ends earlier
    tracks = track_crops(clip(frames), MEM, Blobs())
    assert [(t.first, t.n_frames, t.audio.size) for t in tracks] == [(0, 110, 110 * 640), (0, 130, 130 * 640)]
    in_order = [t.frames for t in tracks]
    assert np.array_equal(tracks[1].frames, in_order[1]) and np.array_equal(tracks[0].frames, in_order[0])
    assert np.array_equal(tracks[0].frames, in_order[0])
    assert not np.array_equal(in_order[0], in_order[1][:110])


def test_a_cut_ends_a_track() -> None:
    frames = coloured(squares(220), 112)
    tracks = track_crops(clip(frames), MEM, Blobs())
    assert [(t.first, t.n_frames) for t in tracks] == [(0, 112), (112, 108)]
    assert np.array_equal(tracks[1].audio, pcm(clip(frames))[112 * 640 :])


def test_short_shots_are_not_looked_at() -> None:
    frames = coloured(squares(160, x=20 + np.arange(160) % 3), 40)
    blobs = Blobs()
    found = find_tracks(clip(frames), MEM, blobs)
    assert found.n_looked_at == 120 == blobs.seen


def test_equal_frames_are_looked_at_once() -> None:
    frames = np.repeat(squares(22, x=20 + np.arange(22)), 5, axis=0)
    often, once = Blobs(), Blobs()
    (track,) = track_crops(clip(frames), MEM, once)
    assert once.seen == 22 and find_tracks(clip(frames), MEM, often).n_looked_at == 110
    assert track.n_frames == 110
    shaken = frames.copy()
    shaken[::2, 0, 0] = 31
    (again,) = track_crops(clip(shaken), MEM, often)
    assert np.array_equal(again.frames[:, 60:], track.frames[:, 60:])


def test_every_fifth_frame_is_near_to_every_frame() -> None:
    frames = squares(123, x=20 + np.arange(123) * 0.5)
    every, fifth = Blobs(), Blobs()
    dense, sparse = find_tracks(clip(frames), MEM, every), find_tracks(clip(frames), K5, fifth)
    assert (every.seen, fifth.seen) == (123, 26)  # 0, 5, ..., 120, and the last frame
    assert np.array_equal(dense.tracks[0].frames, sparse.tracks[0].frames)
    assert sparse.tracks[0].detections == 123
    assert np.abs(dense.tracks[0].boxes - sparse.tracks[0].boxes).max() <= 1.0


def test_sound_that_ends_early() -> None:
    frames = squares(110)
    (track,) = track_crops(Sound(frames, noise(60.5)), MEM, Blobs())
    assert track.audio.size == int(60.5 * 640) and track.notes["short_audio"] == 1
    late = np.concatenate([np.full_like(frames[:1], 90).repeat(120, 0), frames])
    (track,) = track_crops(Sound(late, noise(100)), MEM, Blobs())
    assert track.first == 120 and track.audio.size == 0


@pytest.mark.parametrize(
    ("frames", "kind", "said"),
    [
        (squares(100), "no_track", "100 frames; a track needs more than 100 detections"),
        (squares(1), "no_track", "1 frames"),
        (np.full((101, 60, 80, 3), 40, np.uint8), "no_face", "no face on any of 101 frames"),
        (squares(105, side=90), "no_track", "105 boxes on 105 frames"),
        (coloured(squares(120), 60), "no_track", "no shot of 120 frames is long enough"),
    ],
    ids=["100 frames", "1 frame", "no face", "small face", "short shots"],
)
def test_failures(frames: Any, kind: str, said: str) -> None:
    with pytest.raises(Unscorable) as failure:
        track_crops(clip(frames), MEM, Blobs())
    assert failure.value.kind == kind and said in failure.value.detail


def test_missing_streams() -> None:
    with pytest.raises(Unscorable, match="no_audio_stream"):
        track_crops(ArrayMedia(squares(3)), MEM, Blobs())
    with pytest.raises(Unscorable, match="no_video_stream"):
        track_crops(Sound(None, noise(110)), MEM, Blobs())


def test_tracks_are_a_feature_of_the_video() -> None:
    media, blobs = clip(squares(110)), Blobs()
    first = track_crops(media, MEM, blobs)
    seen = blobs.seen
    (key,) = media.new_features
    assert key.startswith("video:lse-tracks-") and key.endswith("-blobs@1")
    again = Sound(media.frames, media.audio(), stored=media.new_features)
    second = track_crops(again, MEM, blobs)
    assert blobs.seen == seen and again.new_features == {}
    assert np.array_equal(first[0].frames, second[0].frames) and first[0].notes == second[0].notes
    find_tracks(again, K5, blobs)
    assert len(again.new_features) == 1 and blobs.seen > seen  # another protocol, another key
    with pytest.raises(Unscorable):  # a failure is found again without a detector
        track_crops(Sound(media.frames, media.audio(), stored=_empty(media.new_features)), MEM, blobs)


def _empty(features: Mapping[str, Any]) -> dict[str, Any]:
    (key,) = features
    none = {"boxes": np.zeros((0, 4)), "tracks": np.zeros((0, 4), np.int64), "counts": np.array([110, 110, 3])}
    return {key: none}


def test_a_given_crop() -> None:
    crop = TrackCrop(np.zeros((7, 224, 224, 3), np.uint8), np.zeros(9, np.int16), 3, {})
    assert crop.n_frames == 7 and len(crop.frames) == 7


@lru_cache(maxsize=1)
def astronaut() -> Any:
    """A moving photograph: 105 frames of 210x230, of which every fifth is new; the face is over 100 px."""
    from skimage import data

    sample: Any = data
    face = cv2.resize(sample.astronaut()[0:260, 90:360], (332, 320), interpolation=cv2.INTER_AREA)
    return np.stack([face[60 - k // 5 : 290 - k // 5, 40 + k // 5 : 250 + k // 5] for k in range(105)])


def test_a_photographed_face_by_the_stand_in() -> None:
    (track,) = track_crops(clip(astronaut()), MEM, dlib_detect(MEM))
    assert track.n_frames == 105
    assert np.abs(np.diff(track.frames[20:80].astype(float), axis=0)).mean() < 12  # the crop follows the face


# The lossy generations


def photo(n: int = 14) -> Any:
    from skimage import data

    sample: Any = data
    picture = sample.astronaut()
    return np.stack([picture[3 * k : 3 * k + 224, 90 + 2 * k : 314 + 2 * k] for k in range(n)])


def test_xvid_is_what_opencv_writes(tmp_path: Path) -> None:
    frames = photo()
    writer = cv2.VideoWriter(str(tmp_path / "t.avi"), cv2.VideoWriter.fourcc(*"XVID"), 25, (224, 224))
    if not writer.isOpened():
        pytest.skip("this OpenCV cannot write XVID")
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()
    with av.open(str(tmp_path / "t.avi")) as container:
        expected = [frame.to_ndarray(format="yuv420p") for frame in container.decode(video=0)]
    codec = lossy._Mpeg4(lossy._XVID, 224 * 224 * 25, lossy._XVID_TAG)
    ours = [frame.to_ndarray(format="yuv420p") for frame in lossy._through(codec, frames)]
    assert np.array_equal(ours, expected)


def difference(a: Any, b: Any) -> float:
    return float(np.sqrt(np.mean((np.asarray(a, float) - np.asarray(b, float)) ** 2)))


@pytest.mark.parametrize("size", [(224, 224), (61, 75)])
def test_the_avi_and_its_pictures(size: tuple[int, int]) -> None:
    frames = photo(14)[:, : size[0], : size[1]]
    codec = lossy.AviJpeg()
    pairs = [pair for frame in frames for pair in codec.feed(frame)] + list(codec.end())
    assert len(pairs) == 14
    for frame, (shown, jpeg) in zip(frames, pairs, strict=True):  # each of them: a broken packet spoils what follows
        assert shown.shape == jpeg.shape == frame.shape
        assert 1 < difference(shown, frame) < 5 and 1 < difference(jpeg, shown) < 4
        assert abs(jpeg.astype(float).mean() - frame.mean()) < 1.5  # the range of levels is kept


def test_the_crop_loses_more_and_keeps_its_length() -> None:
    frames = photo()
    passed = lossy.xvid_jpeg(frames)
    assert passed.shape == frames.shape and passed.dtype == np.uint8
    assert 3 < difference(passed, frames) < 15
    assert np.array_equal(passed, lossy.xvid_jpeg(frames))


@pytest.mark.parametrize(("rate", "coded"), [(16000, 16000), (44100, 44100), (96000, 48000), (15000, 16000)])
def test_mp3_is_what_an_avi_gives_back(rate: int, coded: int) -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, rate + 77).astype(np.float32)
    ours, found_rate = lossy.mp3(sound, rate)
    assert found_rate == coded and ours.dtype == np.float32
    if rate != coded:
        return
    file = io.BytesIO()
    with av.open(file, "w", format="avi") as container:
        stream: Any = container.add_stream(
            container.default_audio_codec == "mp3" and "libmp3lame", rate=rate, layout="mono"
        )
        stream.codec_context.format = "fltp"
        for start in range(0, sound.size, 1152):
            frame = av.AudioFrame.from_ndarray(sound[None, start : start + 1152].copy(), format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    file.seek(0)
    with av.open(file) as container:
        expected = np.concatenate([block.to_ndarray()[0] for block in container.decode(audio=0)])
    assert np.array_equal(ours, expected)
    delay = int(np.argmax(np.correlate(ours[:6000], sound[:4000], "valid")))
    assert delay == 1105


def test_the_lossy_protocol_as_a_whole() -> None:
    media = clip(squares(104, x=20 + np.arange(104) * 0.3))
    (exact,) = track_crops(media, MEM, Blobs())
    (track,) = track_crops(media, LOSSY, Blobs())
    assert (track.first, track.n_frames, track.audio.size) == (0, 104, 104 * 640)
    assert 1 < difference(track.frames, exact.frames) < 20
    moved = track.audio[1105:40000].astype(float)
    assert np.corrcoef(moved, exact.audio[: len(moved)])[0, 1] > 0.7
    assert len(media.new_features) == 2


def test_half_a_list_of_losses_is_refused() -> None:
    with pytest.raises(ValueError, match="all four or none"):
        track_crops(clip(squares(3)), {**MEM, "lossy": ["XVID crop"]}, Blobs())
