"""The sample recordings that lie outside the project, where they are present."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from bench.media import Media, Source, decode_audio, decode_video, probe, strip_audio

SAMPLES = Path(__file__).resolve().parents[2].parent / "shared" / "media"
VIDEOS = sorted(SAMPLES.rglob("*.mp4"))
SOUNDS = sorted(SAMPLES.rglob("*.wav"))


@pytest.fixture(scope="module", autouse=True)
def present():
    if not SAMPLES.is_dir():
        pytest.skip(f"no sample media at {SAMPLES}")


def test_sound_samples_equal_another_reader(tmp_path):
    assert SOUNDS
    for path in SOUNDS:
        audio = decode_audio(Source(path))
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        assert audio.rate == rate
        np.testing.assert_allclose(audio.samples, samples.mean(axis=1), atol=2**-23, err_msg=path.name)


def test_video_samples_decode_to_the_length_that_they_claim(tmp_path):
    assert VIDEOS
    for path in VIDEOS:
        facts = probe(path)
        media = Media(Source(path), Source(path), path.name)
        video = decode_video(Source(path))
        assert video.frames.shape[1:] == (facts.height, facts.width, 3)
        assert len(video.frames) == media.n_frames
        assert abs(len(video.frames) / 25 - facts.duration) <= 0.04
        assert video.fps_converted == (facts.fps != 25)
        assert video.frames.std() > 5
        if facts.has_audio:
            assert abs(len(media.audio(16000)) / 16000 - facts.duration) < 1
        silent = tmp_path / "silent.mp4"
        strip_audio(Source(path), silent)
        assert not probe(silent).has_audio
        assert len(decode_video(Source(silent)).frames) == len(video.frames)
