"""Decoding real sound: rates, channels, start offsets, cuts, broken files; writing WAV."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from media_making import make_video, marked, tone, write_wav

from bench.errors import Unscorable
from bench.media import Audio, Source, decode_audio, to_int16, write_audio


def rng_int16(n, seed=0):
    return np.random.default_rng(seed).integers(-32768, 32768, n, dtype=np.int16)


def kind_of(source):
    with pytest.raises(Unscorable) as caught:
        decode_audio(source)
    assert source.path.name in caught.value.detail
    return caught.value.kind


def onset(samples, level=0.05):
    return int(np.argmax(np.abs(samples) > level))


def test_16_khz_mono_16_bit_passes_bit_exactly(tmp_path):
    samples = rng_int16(12345)
    audio = decode_audio(Source(write_wav(tmp_path / "a.wav", samples[None], 16000)))
    assert audio.rate == 16000
    assert audio.samples.dtype == np.float32
    np.testing.assert_array_equal(audio.samples, samples.astype(np.float32) / 32768)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_other_rates_stay_native(tmp_path, rate):
    audio = decode_audio(Source(write_wav(tmp_path / "a.wav", rng_int16(5000)[None], rate)))
    assert (audio.rate, audio.samples.shape) == (rate, (5000,))


def test_stereo_is_the_mean_of_left_and_right(tmp_path):
    left, right = rng_int16(1000, 1), rng_int16(1000, 2)
    audio = decode_audio(Source(write_wav(tmp_path / "a.wav", np.stack([left, right]), 44100)))
    np.testing.assert_array_equal(audio.samples, (left.astype(np.float64) + right).astype(np.float32) / 65536)


def test_float_and_24_bit_wavs_are_scaled_to_one(tmp_path):
    wave = tone(0.1, 16000, level=0.9)
    for kind, tolerance in (("pcm_f32le", 0.0), ("pcm_s24le", 2.0**-22), ("pcm_u8", 2.0**-6)):
        audio = decode_audio(Source(write_wav(tmp_path / f"{kind}.wav", wave[None], 16000, kind)))
        assert np.abs(audio.samples - wave).max() <= tolerance, kind


def test_surround_goes_through_the_usual_matrix(tmp_path):
    n, rate = 4000, 48000
    channels = np.stack([tone(n / rate, rate, 200 * (i + 1), 0.3) for i in range(6)])
    path = write_wav(tmp_path / "a.wav", channels, rate, "pcm_f32le")
    audio = decode_audio(Source(path))
    half = np.sqrt(0.5)
    weights = np.array([half, half, 1.0, 0.0, 0.5, 0.5])  # FL FR FC LFE back/side pair, then normalised
    expected = weights @ channels / weights.sum()
    assert audio.samples.shape == (n,)
    np.testing.assert_allclose(audio.samples, expected, atol=1e-5)


def test_stereo_44_khz_aac_beside_video(tmp_path):
    wave = tone(2, 44100)
    path = make_video(tmp_path / "v.mp4", marked(50), audio=np.stack([wave, wave]), audio_rate=44100, layout="stereo")
    audio = decode_audio(Source(path))
    assert audio.rate == 44100
    assert 0 <= audio.samples.size - wave.size < 1024  # AAC ends on a whole packet; the priming is gone
    body = slice(4096, wave.size - 4096)
    assert np.corrcoef(audio.samples[body], wave[body])[0, 1] > 0.999


@pytest.mark.parametrize("milliseconds", [120, 40])
def test_audio_that_starts_late_is_padded_with_silence(tmp_path, milliseconds):
    wave = tone(1, 16000)
    start = Fraction(milliseconds, 1000)
    path = make_video(tmp_path / "v.mkv", marked(25), audio=wave[None], audio_codec="pcm_s16le", audio_start=start)
    audio = decode_audio(Source(path))
    shift = milliseconds * 16
    assert audio.samples.size == wave.size + shift
    assert not audio.samples[:shift].any()
    np.testing.assert_allclose(audio.samples[shift:], wave, atol=1e-4)


def test_audio_that_starts_before_the_video_is_cut(tmp_path):
    wave = tone(1, 16000)
    path = make_video(
        tmp_path / "v.mkv", marked(25), audio=wave[None], audio_codec="pcm_s16le", video_start=Fraction(2, 25)
    )
    audio = decode_audio(Source(path))
    np.testing.assert_allclose(audio.samples, wave[1280:], atol=1e-4)


def test_a_late_start_in_mp4_is_padded_too(tmp_path):
    wave = np.concatenate([np.zeros(1600, np.float32), tone(1, 16000)])
    early = decode_audio(Source(make_video(tmp_path / "a.mp4", marked(25), audio=wave[None])))
    late = decode_audio(
        Source(make_video(tmp_path / "b.mp4", marked(25), audio=wave[None], audio_start=Fraction(1, 5)))
    )
    assert onset(late.samples) - onset(early.samples) == 3200
    assert onset(early.samples) == pytest.approx(1600, abs=40)


def test_audio_longer_than_video_is_kept(tmp_path):
    wave = tone(3, 16000)
    path = make_video(tmp_path / "v.mkv", marked(25), audio=wave[None], audio_codec="pcm_s16le")
    assert decode_audio(Source(path)).samples.size == 48000


def test_cutting_by_time(tmp_path):
    samples = rng_int16(16000 * 12)
    path = write_wav(tmp_path / "a.wav", samples[None], 16000)
    whole = samples.astype(np.float32) / 32768
    for start, end in [(0.5, 1.25), (7.0, 8.5), (10.0, None), (None, 2.0), (11.5, 20.0)]:
        got = decode_audio(Source(path, start, end)).samples
        first, last = round((start or 0) * 16000), None if end is None else round(end * 16000)
        np.testing.assert_array_equal(got, whole[first:last])
    assert kind_of(Source(path, 13.0, 14.0)) == "too_short"


def test_a_cut_after_a_seek_equals_the_cut_of_the_whole(tmp_path):
    wave = (tone(12, 16000, 300) * np.linspace(0, 1, 192000)).astype(np.float32)
    path = make_video(tmp_path / "v.mp4", marked(100), audio=wave[None])
    whole = decode_audio(Source(path)).samples
    got = decode_audio(Source(path, 8.0, 9.0)).samples
    np.testing.assert_allclose(got, whole[128000:144000], atol=2e-3)


def test_broken_and_empty_sounds_have_their_kinds(tmp_path):
    nan = tone(0.1, 16000)
    nan[7] = np.nan
    assert kind_of(Source(write_wav(tmp_path / "nan.wav", nan[None], 16000, "pcm_f32le"))) == "nan"
    nan[7] = np.inf
    assert kind_of(Source(write_wav(tmp_path / "inf.wav", nan[None], 16000, "pcm_f32le"))) == "nan"
    assert kind_of(Source(write_wav(tmp_path / "none.wav", np.zeros((1, 0), np.int16), 16000))) == "too_short"
    zero = tmp_path / "zero.wav"
    zero.write_bytes(b"")
    assert kind_of(Source(zero)) == "decode_error"
    assert kind_of(Source(tmp_path / "missing.wav")) == "decode_error"
    assert kind_of(Source(make_video(tmp_path / "silent.mp4", marked(5)))) == "no_audio_stream"


def test_one_sample_is_a_sound(tmp_path):
    path = write_wav(tmp_path / "one.wav", np.array([[1234]], np.int16), 8000)
    audio = decode_audio(Source(path))
    assert audio.rate == 8000
    np.testing.assert_array_equal(audio.samples, np.array([1234 / 32768], np.float32))


def test_a_truncated_wav_is_a_decode_error(tmp_path):
    path = write_wav(tmp_path / "a.wav", rng_int16(16000)[None], 16000)
    path.write_bytes(path.read_bytes()[:20000])
    assert kind_of(Source(path)) == "decode_error"


def test_the_sound_of_a_truncated_mp4_is_a_decode_error(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (50, 48, 64, 3), dtype=np.uint8)
    path = make_video(
        tmp_path / "v.mp4", noise, audio=tone(2, 16000)[None], container_options={"movflags": "+faststart"}
    )
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert kind_of(Source(path)) == "decode_error"


def test_written_wavs_are_16_bit_rounded_and_clipped(tmp_path):
    samples = np.array([0.0, 0.5, -0.5, 1.0, -1.0, 1.5, -1.5, 0.4 / 32768], np.float32)
    path = tmp_path / "a.wav"
    write_audio(path, Audio(samples, 22050))
    got = decode_audio(Source(path))
    expected = np.array([0, 16384, -16384, 32767, -32768, 32767, -32768, 0])
    assert got.rate == 22050
    np.testing.assert_array_equal(got.samples * 32768, expected)


def test_written_wavs_have_equal_bytes(tmp_path):
    for name in ("a.wav", "b.wav"):
        write_audio(tmp_path / name, Audio(tone(0.3, 16000), 16000))
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


@pytest.mark.parametrize(
    ("samples", "kind"),
    [
        (np.array([0.0, np.nan], np.float32), "nan"),
        (np.zeros(0, np.float32), "too_short"),
        (np.zeros((2, 5), np.float32), "model_error"),
        (np.zeros(5, np.int16), "model_error"),
    ],
)
def test_what_is_no_sound_is_not_written(tmp_path, samples, kind):
    with pytest.raises(Unscorable) as caught:
        write_audio(tmp_path / "a.wav", Audio(samples, 16000))
    assert caught.value.kind == kind
    assert not (tmp_path / "a.wav").exists()


def test_a_16_bit_file_that_is_read_and_written_again_is_the_same(tmp_path: Path) -> None:
    steps = np.arange(-32768, 32768, 7, dtype=np.int16)
    write_audio(tmp_path / "first.wav", Audio((steps / 32768).astype(np.float32), 16_000))
    write_audio(tmp_path / "second.wav", decode_audio(Source(tmp_path / "first.wav")))
    assert (tmp_path / "first.wav").read_bytes() == (tmp_path / "second.wav").read_bytes()
    np.testing.assert_array_equal(to_int16(decode_audio(Source(tmp_path / "second.wav")).samples), steps)
