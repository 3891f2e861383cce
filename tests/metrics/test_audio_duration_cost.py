"""Duration error, real-time factor and peak memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from audio_helpers import media, noise, nothing, score_one, truth

from bench.api import Failure, Source
from bench.media import Media, write_video
from bench.metrics.cost import PEAK_MEMORY, RTF, Cost
from bench.metrics.duration import Duration

DURATION = "duration/abs@1"


def video(folder: Path, n_frames: int) -> Media:
    path = folder / f"video{n_frames}.mp4"
    write_video(path, np.zeros((n_frames, 32, 32, 3), np.uint8))
    return Media(Source(path), None, path.name)


def test_audio_is_measured_in_samples_at_its_own_rate(tmp_path: Path) -> None:
    output, reference = media(tmp_path, noise(44_100), 44_100), media(tmp_path, noise(24_000), 16_000)
    score = score_one(Duration(), DURATION, output, reference)
    assert score.values["duration"] == pytest.approx(0.5, abs=1e-12)
    assert score.values == score_one(Duration(), DURATION, reference, output).values


def test_generated_video_is_held_against_the_driving_audio(tmp_path: Path) -> None:
    audio = media(tmp_path, noise(16_000))
    score = score_one(Duration(), DURATION, video(tmp_path, 20), audio, truth(task="a2v"))
    assert score.values["duration"] == pytest.approx(0.2, abs=1e-12)


def test_a_reference_without_audio_is_measured_in_frames(tmp_path: Path) -> None:
    score = score_one(Duration(), DURATION, media(tmp_path, noise(16_000)), video(tmp_path, 20))
    assert score.values["duration"] == pytest.approx(0.2, abs=1e-12)


def test_missing_and_broken_sides_are_failures(tmp_path: Path) -> None:
    good = media(tmp_path, noise(16_000))
    assert score_one(Duration(), DURATION, good, nothing()).kind == "missing_reference"
    assert score_one(Duration(), DURATION, nothing(), good).kind == "no_audio_stream"
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF and no more")
    assert score_one(Duration(), DURATION, good, Media(None, Source(broken), "b")).kind == "decode_error"


def test_cost_is_what_the_harness_measured() -> None:
    output = Media(None, None, "x", cost={"seconds": 1.5, "peak_mib": 300.25, "media_seconds": 3.0})
    results = Cost().score([RTF.id, PEAK_MEMORY.id], output, nothing(), truth())
    assert results[RTF.id].values == {"rtf": 0.5}  # type: ignore[union-attr]
    assert results[RTF.id].parts == {"seconds": 1.5, "media_seconds": 3.0}  # type: ignore[union-attr]
    assert results[PEAK_MEMORY.id].arrays["peak_mib"].tolist() == [300.25]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "cost", [None, {}, {"seconds": 1.0, "media_seconds": 0.0}, {"seconds": float("nan"), "media_seconds": 1.0}]
)
def test_unknown_cost_is_a_failure(cost: dict[str, float] | None) -> None:
    output = Media(None, None, "x", cost=cost)
    for protocol in (RTF, PEAK_MEMORY):
        result = score_one(Cost(), protocol.id, output, nothing())
        assert isinstance(result, Failure)
        assert result.kind == "missing_output"


def test_peak_memory_of_a_set_is_the_greatest_of_the_drawn_clips() -> None:
    arrays = [{"peak_mib": np.array([peak])} for peak in (100.0, 300.0, 200.0)]
    counts = np.array([[1, 1, 1], [2, 0, 1], [3, 0, 0]])
    assert Cost().aggregate(PEAK_MEMORY.id, "peak_mib", arrays, counts).tolist() == [300.0, 200.0, 100.0]
