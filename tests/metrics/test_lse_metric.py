"""LSE of whole clips: against a plain version, on bad input, by declaration; and of face tracks."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lse_helpers import SEEDED, as_float, babble, fast, pictures, plain_lse
from video_helpers import ArrayMedia, truth

from bench.api import TASKS, Failure, Protocol, Score, Unscorable
from bench.metrics.lse import pipeline
from bench.metrics.lse import protocols as declared
from bench.metrics.lse.embed import embed_audio
from bench.metrics.lse.lrs import JpegRoundTrip, whole_frames
from bench.metrics.lse.metric import DETECTOR_PARAMETERS, Lse
from bench.metrics.lse.pipeline import TrackCrop

PUBLISHED = Path(__file__).parents[2] / ".." / "shared" / "specs" / "protocols.json"
NO_JPEG, WAV2LIP, CENTER = declared.NO_JPEG.id, declared.WAV2LIP.id, declared.CENTER_CROP.id
SETTINGS = declared.NO_JPEG.parameters
IDENTITY = SEEDED.identity(declared.SYNCNET_WEIGHTS)
LIPS, SPEECH = f"video:syncnet-v2-frames-{IDENTITY}@1", f"audio:syncnet-v2-{IDENTITY}@1"


@lru_cache(maxsize=1)
def seeded() -> Lse:
    metric = Lse(SEEDED)
    metric.load("cpu")
    return metric


def result(media: ArrayMedia, protocol_id: str = NO_JPEG, metric: Lse | None = None) -> Score | Failure:
    return (metric or seeded()).score([protocol_id], media, ArrayMedia(), truth())[protocol_id]


def score(media: ArrayMedia, protocol_id: str = NO_JPEG, metric: Lse | None = None) -> Score:
    found = result(media, protocol_id, metric)
    assert isinstance(found, Score), found
    return found


def kind(media: ArrayMedia, protocol_id: str = NO_JPEG) -> str:
    found = result(media, protocol_id)
    assert isinstance(found, Failure), found
    return found.kind


def blank(n: int) -> Any:
    return np.zeros((n, 4, 4, 3), np.uint8)


def known(n_frames: int, wave: Any, lips: Any, speech: Any = None) -> ArrayMedia:
    """A clip whose embeddings are known already, so that the network has nothing to do."""
    stored = {LIPS: {"lips": lips}} | ({} if speech is None else {SPEECH: {"speech": speech}})
    return ArrayMedia(blank(n_frames), wave, stored=stored)


@pytest.mark.parametrize(("frames", "samples"), [(23, 24 * 640 + 100), (16, 14 * 640)])
def test_a_clip_scores_as_step_by_step(frames: int, samples: int) -> None:
    shown, pcm = pictures(frames), babble(samples)
    found = score(ArrayMedia(shown, as_float(pcm), chunk=7))
    lse_c, lse_d, offset = plain_lse(shown, pcm)
    assert found.values["lse_d"] == pytest.approx(lse_d, rel=3e-6)
    assert found.values["lse_c"] == pytest.approx(lse_c, abs=0.02)  # a difference of numbers near 8000
    assert found.parts["offset"] == offset
    assert found.parts["n_frames"] == min(frames, samples // 640)
    assert found.parts["n_windows"] == found.parts["n_frames"] - 5


@pytest.mark.parametrize("shift", [-6, -1, 0, 2, 4])
def test_sound_that_is_shifted_by_s_frames_moves_the_offset_by_s(shift: int) -> None:
    """The lips say exactly what the unshifted sound says; the shift is made on samples."""
    pcm = babble(50 * 640)
    lips = embed_audio(fast(), pcm, SETTINGS)
    moved = np.concatenate([np.zeros(shift * 640, np.int16), pcm]) if shift > 0 else pcm[-shift * 640 :]
    found = score(known(50, as_float(moved), lips))
    assert found.parts["offset"] == -shift
    assert found.values["lse_c"] > 1.0


def test_streams_are_looked_at_once_and_cut_to_the_shorter_one() -> None:
    rng = np.random.default_rng(0)
    lips, speech = rng.standard_normal((2, 70, 1024)).astype(np.float32)
    whole = score(known(75, np.ones(75 * 640, np.float32), lips, speech))
    assert (whole.parts["n_windows"], whole.parts["length_differs"]) == (70, 0.0)
    shorter = score(known(75, np.ones(74 * 640, np.float32), lips, speech[:69]))  # 40 ms
    assert (shorter.parts["n_windows"], shorter.parts["length_differs"]) == (69, 1.0)
    longer = score(known(75, np.ones(76 * 640, np.float32), lips, np.concatenate([speech, speech[:1]])))
    assert longer.values == whole.values
    assert (longer.parts["n_windows"], longer.parts["length_differs"]) == (70, 1.0)


def test_embeddings_are_kept_with_their_stream() -> None:
    media = ArrayMedia(pictures(8), as_float(babble(9 * 640)))
    score(media)
    assert {key: {k: v.shape for k, v in arrays.items()} for key, arrays in media.new_features.items()} == {
        LIPS: {"lips": (3, 1024)},
        SPEECH: {"speech": (4, 1024)},
    }
    lossy = ArrayMedia(pictures(8), as_float(babble(9 * 640)))
    score(lossy, WAV2LIP)
    assert set(lossy.new_features) == {SPEECH, LIPS.replace("frames", "frames-mjpeg")}


def test_protocols_asked_together_score_as_alone() -> None:
    media = ArrayMedia(pictures(9), as_float(babble(9 * 640)))
    ids = [WAV2LIP, CENTER, NO_JPEG]
    together = seeded().score(ids, media, ArrayMedia(), truth())
    assert set(together) == set(ids)
    assert together[CENTER] == together[NO_JPEG] == result(ArrayMedia(pictures(9), as_float(babble(9 * 640))))
    alone, lossless = score(ArrayMedia(pictures(9), as_float(babble(9 * 640))), WAV2LIP), together[NO_JPEG]
    assert together[WAV2LIP] == alone
    assert isinstance(lossless, Score)
    assert alone.values["lse_d"] != lossless.values["lse_d"]


@pytest.mark.parametrize(("frames", "samples"), [(1, 32000), (5, 32000), (50, 6 * 640 - 1), (50, 1)])
def test_fewer_than_six_common_frames_are_too_short(frames: int, samples: int) -> None:
    assert kind(ArrayMedia(blank(frames), np.ones(samples, np.float32))) == "too_short"


def test_short_clips_are_scored_and_flagged() -> None:
    rng = np.random.default_rng(0)
    for n, short in ((6, 1.0), (20, 1.0), (21, 0.0)):
        lips, speech = rng.standard_normal((2, n - 5, 1024)).astype(np.float32)
        found = score(known(n, np.ones(n * 640, np.float32), lips, speech))
        assert found.parts["short_for_offsets"] == short
        assert np.isfinite(list(found.values.values())).all()


def test_silence_is_scored_and_flagged() -> None:
    lips = np.random.default_rng(0).standard_normal((35, 1024)).astype(np.float32)
    silent = score(known(40, np.zeros(40 * 640, np.float32), lips))
    assert silent.parts["silent_audio"] == 1.0
    assert np.isfinite(list(silent.values.values())).all()
    assert score(known(40, as_float(babble(40 * 640)), lips)).parts["silent_audio"] == 0.0


def test_what_is_missing_or_broken_has_its_kind() -> None:
    assert kind(ArrayMedia(blank(9), None)) == "no_audio_stream"
    assert kind(ArrayMedia(None, np.ones(9999, np.float32))) == "no_video_stream"
    assert kind(ArrayMedia(blank(9), np.full(9999, np.nan, np.float32))) == "nan"
    broken = np.full((35, 1024), np.nan, np.float32)
    assert kind(known(40, as_float(babble(40 * 640)), broken)) == "nan"


def test_a_conversion_of_the_frame_rate_is_flagged() -> None:
    lips = np.ones((35, 1024), np.float32)
    media = ArrayMedia(blank(40), np.ones(40 * 640, np.float32), converted=True, stored={LIPS: {"lips": lips}})
    assert score(media).parts["fps_converted"] == 1.0
    assert score(known(40, np.ones(40 * 640, np.float32), lips)).parts["fps_converted"] == 0.0


def test_pictures_become_bgr_of_the_networks_size() -> None:
    frame = np.zeros((90, 50, 3), np.uint8)
    frame[..., 0], frame[..., 2] = 200, 10
    (piece,) = whole_frames(ArrayMedia(frame[None]), SETTINGS)
    assert piece.shape == (1, 224, 224, 3)
    assert piece[0, 100, 100].tolist() == [10, 0, 200]
    same = pictures(40, 224, 224)
    assert (np.concatenate(list(whole_frames(ArrayMedia(same, chunk=33), SETTINGS))) == same[..., ::-1]).all()


def test_the_jpeg_round_trip_keeps_the_picture_and_loses_detail() -> None:
    grey = JpegRoundTrip(25)
    assert np.abs(grey(np.full((37, 51, 3), 128, np.uint8)).astype(int) - 128).max() <= 2
    shown = pictures(30, 120, 90)
    trip = JpegRoundTrip(25)
    lossy = np.stack([trip(frame) for frame in shown])[..., ::-1].astype(float)  # RGB again
    error = np.sqrt(np.mean((lossy - shown) ** 2, axis=(1, 2, 3)))
    assert lossy.shape == shown.shape
    assert 0.3 < error.mean() < 20
    again = JpegRoundTrip(25)
    assert all((again(frame)[..., ::-1] == picture).all() for frame, picture in zip(shown, lossy, strict=True))


class NoDetector:
    identity = "test-boxes"

    def __call__(self, frames: Any) -> list[Any]:
        raise AssertionError("the tracker of this test looks at no picture")


def tracked(monkeypatch: pytest.MonkeyPatch, found: Any, media: ArrayMedia) -> Score | Failure:
    """Scores of tracks that are given in place of the tracker's."""
    seen: list[Any] = []

    def track_crops(medium: Any, parameters: Any, detect: Any) -> list[TrackCrop]:
        seen.append((medium, parameters, detect))
        if isinstance(found, Exception):
            raise found
        return list(found)

    monkeypatch.setattr(pipeline, "track_crops", track_crops)
    detect: Any = NoDetector()
    answer = result(media, declared.PIPELINE_MEM.id, Lse(SEEDED, detect))
    assert seen == [(media, declared.PIPELINE_MEM.parameters, detect)]
    return answer


def faces(n: int, seed: int) -> Any:
    return pictures(n, 224, 224, seed)


def test_a_clip_is_the_mean_over_its_tracks(monkeypatch: pytest.MonkeyPatch) -> None:
    tracks = [
        TrackCrop(faces(9, 1), babble(9 * 640, 1), 0, {"duplicates": 1.0}),
        TrackCrop(faces(7, 2), babble(8 * 640, 2), 30, {"duplicates": 2.0}),
        TrackCrop(faces(8, 3), babble(5 * 640, 3), 60, {}),
    ]
    media = ArrayMedia(blank(90), as_float(babble(90 * 640)))
    found = tracked(monkeypatch, tracks, media)
    assert isinstance(found, Score)
    alone = [score(ArrayMedia(track.frames, as_float(track.audio))) for track in tracks[:2]]
    for name in ("lse_c", "lse_d"):
        assert found.values[name] == pytest.approx(np.mean([one.values[name] for one in alone]), rel=1e-6)
        assert found.parts[f"{name}_sum"] == pytest.approx(2 * found.values[name])
    expected = {"n_tracks": 2, "n_tracks_too_short": 1, "n_frames": 16, "n_windows": 6, "duplicates": 3}
    assert {name: found.parts[name] for name in expected} == expected
    assert found.arrays["tracks"][:, :3].tolist() == [[0, 9, 4], [30, 7, 2]]
    assert found.arrays["tracks"][:, 5].tolist() == [one.parts["offset"] for one in alone]
    (key,) = media.new_features
    assert key == f"video:syncnet-v2-pipeline-mem-test-boxes-{IDENTITY}@1"
    assert media.new_features[key]["counts"].tolist() == [4, 2, 3]


def test_clips_without_a_track_or_with_silent_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    media = ArrayMedia(blank(90), as_float(babble(90 * 640)))
    assert tracked(monkeypatch, Unscorable("no_track", "no face"), media) == Failure("no_track", "no face")
    short = [TrackCrop(faces(8, 0), np.zeros(100, np.int16), 0, {})]
    answer = tracked(monkeypatch, short, ArrayMedia(blank(90), as_float(babble(90 * 640))))
    assert isinstance(answer, Failure)
    assert answer.kind == "too_short"


class OneFace:
    """The same box in every frame."""

    identity = "one-face"

    def __call__(self, frames: Any) -> list[Any]:
        return [np.array([[10.0, 20.0, 130.0, 145.0, 1.0]])] * len(frames)


def test_the_tracker_and_the_score_fit_together() -> None:
    """104 frames with one face are one track; its lips are known, so that only the tracker has work to do."""
    n = 104
    pcm = babble(n * 640)
    lips = embed_audio(fast(), pcm, SETTINGS)[: n - 5]
    key = f"video:syncnet-v2-pipeline-mem-one-face-{IDENTITY}@1"
    shown = np.full((n, 160, 150, 3), 90, np.uint8)
    stored = {key: {"lips": lips, "counts": np.array([n - 5])}}
    boxes: Any = OneFace()
    metric = Lse(SEEDED, boxes)
    found = score(ArrayMedia(shown, as_float(pcm), stored=stored), declared.PIPELINE_MEM.id, metric)
    assert found.arrays["tracks"][0, [0, 1, 2, 5]].tolist() == [0, n, n - 5, 0]
    assert (found.parts["n_tracks"], found.parts["lse_d_sum"]) == (1, found.values["lse_d"])
    short = result(ArrayMedia(shown[:100], as_float(pcm)), declared.PIPELINE_MEM.id, metric)
    assert isinstance(short, Failure)
    assert short.kind == "no_track"


@pytest.mark.parametrize("protocol", Lse.protocols, ids=lambda p: p.id)
def test_declaration_equals_the_published_one(protocol: Protocol) -> None:
    if not PUBLISHED.is_file():
        pytest.skip("../shared/specs/protocols.json is not here")
    wanted = json.loads(PUBLISHED.read_text())["protocols"][protocol.id]
    ours = json.loads(json.dumps(protocol.parameters))
    assert ours.pop("sample_rate") == 16000
    assert ours.pop("resampler") == "swr"
    assert ours == wanted["parameters"]
    assert [value.label for value in protocol.values] == wanted["metric"]
    assert {value.label: value.direction for value in protocol.values} == wanted["direction"]
    assert {value.unit for value in protocol.values} == {wanted["unit"]}
    assert protocol.status == wanted["status"]
    assert list(protocol.failures) == wanted["failures"]
    assert list(protocol.used_by) == wanted["used_by"]
    assert protocol.source == wanted["reference"]
    over_tracks = "tracks" in wanted["aggregation"]
    assert {value.aggregation.kind for value in protocol.values} == {"ratio" if over_tracks else "mean"}


def test_all_published_ids_are_declared_and_one_is_the_default() -> None:
    forms = ("wav2lip", "wav2lip-nojpeg", "centercrop", "pipeline", "pipeline-mem", "pipeline-k5")
    assert {protocol.id for protocol in Lse.protocols} == {f"lse/syncnet-v2-{form}@1" for form in forms}
    assert [protocol.id for protocol in Lse.protocols if protocol.default] == [NO_JPEG]
    assert all(p.parameters["detector"] == DETECTOR_PARAMETERS["detector"] for p in declared.TRACKED)
    for protocol in Lse.protocols:
        assert {task for task in TASKS if protocol.applies_to(task)} == {"vts", "dub", "a2v", "t2av"}


def test_missing_weights_are_named_with_their_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    (line,) = Lse().missing(NO_JPEG)
    assert "syncnet_v2.model" in line
    assert "joonson/syncnet_python" in line
    lines = Lse().missing(declared.PIPELINE.id)
    assert [name for text in lines for name in ("syncnet_v2.model", "sfd_face.pth") if name in text] == [
        "syncnet_v2.model",
        "sfd_face.pth",
    ]
    boxes: Any = NoDetector()
    assert len(Lse(detect=boxes).missing(declared.PIPELINE.id)) == 1


def test_listing_loads_no_numeric_library() -> None:
    code = "import sys, bench.metrics.lse.metric; print({'numpy', 'torch', 'cv2', 'scipy', 'av'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
