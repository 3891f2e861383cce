"""Decoding audio to mono float32 at its own rate, and writing 16-bit WAV files."""

from __future__ import annotations

import wave
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.errors import Unscorable
from bench.media.container import Wholeness, audio_stream, opened, reading, video_stream
from bench.media.plain_wav import read_plain_wav
from bench.media.video import first_frame_time
from bench.records import Audio

if TYPE_CHECKING:
    from pathlib import Path

    from av.container import InputContainer
    from numpy.typing import NDArray

    from bench.records import Samples, Source

INT16_STEPS = 32768  # 16-bit samples are read as value / 32768
INT16_PEAK = 32767  # the greatest of them; written as round(x * 32768), clipped: what was read comes back to the bit
_SEEK_FROM_S = 5.0  # a cut that begins earlier than this is reached by decoding from the front
_PREROLL_S = 1  # decoded ahead of a cut, so that the codec's state has settled
#: Full scale and centre of libav's integer sample formats.
_INTEGER_SCALE = {"u8": (128.0, 128.0), "s16": (float(INT16_STEPS), 0.0), "s32": (float(2**31), 0.0)}


def decode_audio(source: Source) -> Audio:
    """Mono samples (0.5 left + 0.5 right; more channels by libswresample's matrix) at the native rate.

    Where the file has a video stream, time 0 is its first frame: audio that starts later is
    padded with silence, audio that starts earlier is cut. ``start`` and ``end`` cut by time.
    Raises :class:`Unscorable`: ``no_audio_stream``, ``decode_error``, ``nan``, ``too_short``.
    """
    audio = _decoded_audio(source)
    if audio.samples.size == 0:
        raise Unscorable("too_short", f"{source.path.name}: the part asked for has no audio")
    return audio


def _decoded_audio(source: Source) -> Audio:
    """The part asked for, which may be empty."""
    if not _is_sought(source):
        plain = read_plain_wav(source.path, source.end)
        if plain is not None:
            return Audio(_cut(plain.samples, plain.rate, Fraction(0), source), plain.rate)
    name = source.path.name
    with opened(source.path) as container, reading(source.path):
        stream = audio_stream(container)
        if stream is None:
            raise Unscorable("no_audio_stream", f"{name}: no audio stream")
        origin = first_frame_time(source.path) if video_stream(container) is not None else None
        samples, rate, shift = _decode(container, stream, source, origin)
    if samples.size == 0:
        raise Unscorable("too_short", f"{name}: 0 audio samples")
    if not np.isfinite(samples).all():
        raise Unscorable("nan", f"{name}: {np.count_nonzero(~np.isfinite(samples))} samples are not finite")
    return Audio(_cut(samples, rate, shift, source), rate)


def _is_sought(source: Source) -> bool:
    return source.start is not None and source.start > _SEEK_FROM_S


def _decode(
    container: InputContainer, stream: Any, source: Source, origin: Fraction | None
) -> tuple[Samples, int, Fraction]:
    """Samples, rate, and when the first sample sounds: seconds from the first frame of the video.

    Without a video (``origin`` is ``None``) time 0 is the start of the sound itself.
    """
    zero = Fraction(stream.start_time or 0) * Fraction(stream.time_base) if origin is None else origin
    sought = _is_sought(source)
    if sought:
        target = zero + Fraction(source.start or 0) - _PREROLL_S
        container.seek(int(target / stream.time_base), stream=stream, backward=True)
    stop = None if source.end is None else zero + Fraction(source.end)
    blocks, rate, began = _blocks(container, stream, source.path.name, stop, from_front=not sought)
    if not blocks:
        return np.zeros(0, np.float32), rate, Fraction(0)
    shift = Fraction(0) if origin is None and not sought else began - zero
    return np.concatenate(blocks), rate, shift


def _blocks(
    container: InputContainer, stream: Any, name: str, stop: Fraction | None, from_front: bool
) -> tuple[list[Samples], int, Fraction]:
    """Mono blocks up to the time ``stop``, their rate, and the time of the first one.

    Raises ``decode_error`` when the stream ends before its header says.
    """
    wholeness = Wholeness(stream, from_front)
    mixer = _Mixer(name)
    blocks: list[Samples] = []
    rate, began = int(stream.codec_context.sample_rate or 0), Fraction(0)
    for frame, time in _decoded(container, stream, wholeness):
        if not blocks:
            rate, began = frame.sample_rate, time
        if frame.sample_rate != rate:
            raise Unscorable("decode_error", f"{name}: the sample rate changes from {rate} to {frame.sample_rate}")
        blocks.append(mixer.mono(frame))
        if stop is not None and time > stop:
            return blocks, rate, began
    if wholeness.problem:
        raise Unscorable("decode_error", f"{name}: {wholeness.problem}")
    return blocks, rate, began


def _decoded(container: InputContainer, stream: Any, wholeness: Wholeness) -> Iterator[tuple[Any, Fraction]]:
    last = Fraction(0)
    for packet in container.demux(stream):
        wholeness.saw(packet)
        for frame in packet.decode():
            if frame.pts is not None:
                last = frame.pts * Fraction(frame.time_base)
            yield frame, last


def _cut(samples: Samples, rate: int, shift: Fraction, source: Source) -> Samples:
    """Place the samples at ``shift`` seconds and take ``source.start`` to ``source.end`` of them."""
    first = round((source.start or 0.0) * rate) - round(shift * rate)
    last = samples.size if source.end is None else round(source.end * rate) - round(shift * rate)
    body = samples[max(first, 0) : max(last, 0)]
    if first >= 0:
        return body
    silence = min(-first, max(last - first, 0))
    return np.pad(body, (silence, 0))


class _Mixer:
    """Turns decoded blocks of any sample format and channel layout into mono float32."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._matrix: NDArray[np.float64] | None = None

    def mono(self, frame: Any) -> Samples:
        channels = frame.layout.nb_channels
        if channels > 2:
            return self._surround(frame)
        block = as_float(frame, channels)
        if channels == 1:
            return np.asarray(block[0]).astype(np.float32)
        return np.asarray(0.5 * block[0] + 0.5 * block[1]).astype(np.float32)

    def _surround(self, frame: Any) -> Samples:
        if self._matrix is None:
            self._matrix = self._down_mix(frame)
        return np.asarray(self._matrix @ as_float(frame, frame.layout.nb_channels)).astype(np.float32)

    def _down_mix(self, frame: Any) -> NDArray[np.float64]:
        """The weights that libswresample gives to the channels for 16-bit mono: their sum is at most 1.

        For float samples it leaves them without that bound, so they are read off by sending an
        impulse through each channel, and bounded here.
        """
        import av

        channels = frame.layout.nb_channels
        impulses = np.ascontiguousarray(np.eye(channels))
        try:
            block = av.AudioFrame.from_ndarray(impulses, format="dblp", layout=frame.layout.name)
        except (ValueError, IndexError) as error:  # a number of channels that has no layout of its own
            raise self._unmixable(frame) from error
        block.sample_rate = frame.sample_rate
        mixer = av.AudioResampler(format="dblp", layout="mono", rate=frame.sample_rate)
        weights = np.concatenate([part.to_ndarray()[0] for part in [*mixer.resample(block), *mixer.resample(None)]])
        if weights.size != channels:
            raise self._unmixable(frame)
        return np.asarray(weights / max(1.0, float(np.abs(weights).sum())))

    def _unmixable(self, frame: Any) -> Unscorable:
        return Unscorable("decode_error", f"{self._name}: the channels {frame.layout.name} cannot be mixed")


def as_float(frame: Any, channels: int) -> NDArray[Any]:
    """Samples of a decoded block as floats in [-1, 1], (channels, n)."""
    block = frame.to_ndarray()
    if not frame.format.is_planar:
        block = block.reshape(-1, channels).T
    scale = _INTEGER_SCALE.get(frame.format.packed.name)
    if scale is None:
        return np.asarray(block)
    return np.asarray((block.astype(np.float64) - scale[1]) / scale[0])


def write_audio(path: Path, audio: Audio) -> None:
    """Write mono 16-bit PCM WAV: round(x * 32768), clipped to the 16-bit range.

    Raises :class:`Unscorable`: ``nan`` for samples that are not finite, ``too_short`` for none,
    ``model_error`` for another shape or rate than those of :class:`bench.api.Audio`.
    """
    samples = np.asarray(audio.samples)
    if samples.ndim != 1 or samples.dtype.kind != "f" or audio.rate <= 0:
        raise Unscorable(
            "model_error", f"audio is float (N,) with a rate, not {samples.dtype} {samples.shape} at {audio.rate} Hz"
        )
    if samples.size == 0:
        raise Unscorable("too_short", "0 audio samples")
    if not np.isfinite(samples).all():
        raise Unscorable("nan", f"{np.count_nonzero(~np.isfinite(samples))} audio samples are not finite")
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(int(audio.rate))
        out.writeframes(to_int16(samples).astype("<i2").tobytes())


def to_int16(samples: NDArray[Any]) -> NDArray[np.int16]:
    """round(x * 32768), clipped to [-32768, 32767]."""
    scaled = np.rint(samples.astype(np.float64) * INT16_STEPS)
    return np.clip(scaled, -INT16_STEPS, INT16_PEAK).astype(np.int16)
