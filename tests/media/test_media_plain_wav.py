"""The short way to the samples of a plain WAV: what it takes equals libav to the bit, all else is left to libav."""

from __future__ import annotations

import os
import struct
import wave
from pathlib import Path

import numpy as np
import pytest
from media_making import write_wav

from bench.errors import Unscorable
from bench.media import Audio, Source, decode_audio, sound, write_audio
from bench.media.plain_wav import read_plain_wav

NOISE = np.random.default_rng(0).integers(-32768, 32768, 20_001, dtype=np.int16)
EDGES = np.array([-32768, -1, 0, 1, 32767], np.int16)


def pcm(path: Path, samples: np.ndarray, rate: int = 16_000, channels: int = 1) -> Path:
    with wave.open(str(path), "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(samples.dtype.itemsize)
        out.setframerate(rate)
        out.writeframes(samples.tobytes())
    return path


def result(source: Source) -> tuple[object, ...]:
    """All that a caller of ``decode_audio`` can tell, its failures too."""
    try:
        audio = decode_audio(source)
    except Unscorable as failure:
        return failure.kind, failure.detail
    return audio.rate, audio.samples.dtype, audio.samples.shape, audio.samples.tobytes(), audio.samples.flags.writeable


def assert_same_by_libav(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    short = result(source)
    with monkeypatch.context() as patch:
        patch.setattr(sound, "read_plain_wav", lambda *_: None)
        assert result(source) == short


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("samples", [NOISE, EDGES, NOISE[:1], np.zeros(5000, np.int16)], ids=str)
def test_plain_wavs_equal_libav_to_the_bit(tmp_path, monkeypatch, samples, rate):
    path = pcm(tmp_path / "a.wav", samples, rate)
    assert read_plain_wav(path) is not None
    assert_same_by_libav(Source(path), monkeypatch)


def test_what_write_audio_writes_is_plain(tmp_path):
    samples = NOISE.astype(np.float32) / 32768
    write_audio(tmp_path / "a.wav", Audio(samples, 16_000))
    plain = read_plain_wav(tmp_path / "a.wav")
    assert plain is not None
    assert plain.rate == 16_000
    np.testing.assert_array_equal(plain.samples, samples)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        *((None, 0.5), (0.25, None), (0.1, 0.7), (-0.2, 0.3), (0.5, 0.2), (None, 0.0), (None, -1.0), (0.0, 9.0)),
        *((2.0, None), (5.0, 6.0), (5.5, 6.0), (None, 100.5 / 16_000), (None, 2048 / 16_000), (1.25, 1.2501)),
    ],
)
def test_cuts_equal_libav(tmp_path, monkeypatch, start, end):
    assert_same_by_libav(Source(pcm(tmp_path / "a.wav", NOISE), start, end), monkeypatch)


def test_a_late_cut_equals_libav(tmp_path, monkeypatch):
    path = pcm(tmp_path / "a.wav", np.tile(NOISE, 6))
    for start, end in ((5.0, 6.0), (5.1, 6.0), (6.3, None), (7.0, 7.001)):
        assert_same_by_libav(Source(path, start, end), monkeypatch)


def extensible(path: Path) -> Path:
    """WAVE_FORMAT_EXTENSIBLE around 16-bit mono PCM."""
    guid = bytes.fromhex("0100000000001000800000aa00389b71")
    form = struct.pack("<HHIIHHHHI", 0xFFFE, 1, 16_000, 32_000, 2, 16, 22, 16, 4) + guid
    return riff(path, (b"fmt ", form), (b"data", NOISE.tobytes()))


def riff(path: Path, *chunks: tuple[bytes, bytes]) -> Path:
    body = b"".join(name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for name, data in chunks)
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body) + 4) + b"WAVE" + body)
    return path


def changed(path: Path, at: int, new: bytes) -> Path:
    data = pcm(path, NOISE).read_bytes()
    path.write_bytes(data[:at] + new + data[at + len(new) :])
    return path


def resized(path: Path, by: int) -> Path:
    data = pcm(path, NOISE).read_bytes()
    path.write_bytes(data[:by] if by < 0 else data + bytes(by))
    return path


FORM = struct.pack("<HHIIHH", 1, 1, 16_000, 32_000, 2, 16)
FLOATS = (NOISE / 32768).astype(np.float32)[None]
OTHERS = {
    "stereo": lambda path: pcm(path, NOISE[:20_000], channels=2),
    "8-bit": lambda path: pcm(path, NOISE.astype(np.uint8)),
    "24-bit": lambda path: write_wav(path, FLOATS, 16_000, "pcm_s24le"),
    "32-bit": lambda path: pcm(path, NOISE.astype(np.int32) << 16),
    "float": lambda path: write_wav(path, FLOATS, 16_000, "pcm_f32le"),
    "extensible": extensible,
    "extra chunk before": lambda path: riff(path, (b"fmt ", FORM), (b"LIST", b"INFO"), (b"data", NOISE.tobytes())),
    "extra chunk after": lambda path: riff(path, (b"fmt ", FORM), (b"data", NOISE.tobytes()), (b"LIST", b"INFO")),
    "odd data": lambda path: riff(path, (b"fmt ", FORM), (b"data", NOISE.tobytes()[:-1])),
    "0 samples": lambda path: pcm(path, NOISE[:0]),
    "empty file": lambda path: path.touch() or path,
    "truncated header": lambda path: path.write_bytes(pcm(path, NOISE).read_bytes()[:30]) and path,
    "header alone": lambda path: path.write_bytes(pcm(path, NOISE).read_bytes()[:44]) and path,
    "truncated data": lambda path: resized(path, -1000),
    "one byte short": lambda path: resized(path, -1),
    "trailing bytes": lambda path: resized(path, 7),
    "no RIFF": lambda path: changed(path, 0, b"RIFX"),
    "no WAVE": lambda path: changed(path, 8, b"AVI "),
    "other codec": lambda path: changed(path, 20, b"\x06\0"),
    "rate 0": lambda path: changed(path, 24, bytes(8)),
    "wrong byte rate": lambda path: changed(path, 28, b"\x01"),
    "wrong block": lambda path: changed(path, 32, b"\x04"),
    "12 bits": lambda path: changed(path, 34, b"\x0c"),
    "unknown data size": lambda path: changed(path, 40, b"\xff\xff\xff\xff"),
    "unknown size": lambda path: changed(path, 4, b"\xff\xff\xff\xff"),
    "missing": lambda path: path,
    "folder": lambda path: path.mkdir() or path,
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_and_broken_files_are_left_to_libav(tmp_path, monkeypatch, name):
    path = OTHERS[name](tmp_path / "a.wav")
    assert read_plain_wav(path) is None
    assert_same_by_libav(Source(path), monkeypatch)


def test_a_pipe_is_not_opened_twice(tmp_path):
    """Opening would hang without a writer and would take its bytes with one."""
    os.mkfifo(tmp_path / "a.wav")
    assert read_plain_wav(tmp_path / "a.wav") is None


def test_only_what_is_asked_for_is_read(tmp_path):
    path = pcm(tmp_path / "a.wav", NOISE)
    part = read_plain_wav(path, end=0.1)
    assert part is not None
    assert part.samples.shape == (1600,)
