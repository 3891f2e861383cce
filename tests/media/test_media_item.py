"""`Media`: features kept and reused, failures remembered, audio cached per resampler."""

from __future__ import annotations

import numpy as np
import pytest
from media_making import make_video, marked, tone, write_wav

from bench.errors import Unscorable
from bench.media import Media, Source, resample


def test_audio_is_cached_per_rate_and_method(tmp_path):
    path = write_wav(tmp_path / "a.wav", tone(0.5, 44100)[None], 44100, "pcm_f32le")
    media = Media(None, Source(path), "x")
    native = media.audio()
    assert media.audio_rate == 44100
    assert media.audio() is native
    assert media.audio(44100) is native
    assert media.audio(16000) is media.audio(16000)
    np.testing.assert_array_equal(media.audio(16000), resample(native, 44100, 16000))
    np.testing.assert_array_equal(media.audio(16000, "sinc"), resample(native, 44100, 16000, "sinc"))
    assert not media.audio(16000).flags.writeable


def test_features_are_computed_once_and_only_new_ones_are_reported():
    calls = []

    def compute():
        calls.append(1)
        return {"a": np.arange(3)}

    media = Media(None, None, "x", stored={"video:old@1": {"a": np.ones(2)}})
    assert media.feature("video:new@1", compute) is media.feature("video:new@1", compute)
    assert media.feature("video:old@1", compute)["a"].tolist() == [1, 1]
    assert len(calls) == 1
    assert list(media.new_features) == ["video:new@1"]


def test_a_failure_is_remembered_and_not_computed_again():
    calls = []

    def compute():
        calls.append(1)
        raise Unscorable("no_face", "nobody there")

    media = Media(None, None, "x")
    for _ in range(2):
        with pytest.raises(Unscorable, match="nobody there"):
            media.feature("video:faces@1", compute)
    assert len(calls) == 1
    assert not media.new_features


def test_absent_streams_have_their_kinds(tmp_path):
    media = Media(None, None, "x")
    with pytest.raises(Unscorable, match="no_video_stream"):
        _ = media.n_frames
    with pytest.raises(Unscorable, match="no_video_stream"):
        list(media.frame_chunks())
    with pytest.raises(Unscorable, match="no_audio_stream"):
        media.audio(16000)
    silent = Source(make_video(tmp_path / "v.mp4", marked(5)))
    with pytest.raises(Unscorable, match="no_audio_stream"):
        Media(silent, silent, "x").audio()


def test_cost_and_hash_are_handed_on():
    media = Media(None, None, "abc", cost={"seconds": 2.0, "peak_mib": 10.0, "media_seconds": 3.0})
    assert (media.sha256, media.cost["seconds"]) == ("abc", 2.0)
