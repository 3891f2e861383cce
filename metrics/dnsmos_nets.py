"""DNSMOS' two networks on the segments of a wave (ONNX, one CPU thread)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.metrics.mel import mel_power, power_to_db

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.records import Samples

_P835_ORDER = ("sig", "bak", "ovrl")  # columns of the P.835 network's answer


class DnsmosNets:
    """The P.835 network (wave in, three scores out) and the P.808 network (mel in, one score out)."""

    def __init__(self, p835: Path, p808: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3

        def session(path: Path) -> Any:
            return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

        self._p835, self._p808 = session(p835), session(p808)
        self._p835_input = self._p835.get_inputs()[0].name
        self._p808_input = self._p808.get_inputs()[0].name

    def rate(self, wave: Samples, parameters: Mapping[str, Any]) -> tuple[dict[str, float], int]:
        """Mean scores over the segments of ``wave`` (N,), in [-1, 1], not empty; and how many segments."""
        rows: list[dict[str, float]] = []
        for segment in segments(wave, parameters):
            raw = self._p835.run(None, {self._p835_input: segment[None]})[0][0]
            row = {
                name: float(np.polyval(parameters["polynomials"][name], float(value)))
                for name, value in zip(_P835_ORDER, raw, strict=True)
            }
            picture = p808_picture(segment, parameters)[None]
            row["p808"] = float(self._p808.run(None, {self._p808_input: picture})[0][0][0])
            rows.append(row)
        return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}, len(rows)


def segments(wave: Samples, parameters: Mapping[str, Any]) -> Iterator[Samples]:
    """Overlapping segments of 9.01 s, one per second; a short wave is appended to itself (doubled) first."""
    rate, seconds, hop = parameters["sample_rate"], parameters["segment_seconds"], parameters["hop_seconds"]
    length = int(seconds * rate)
    wave = np.asarray(wave, np.float32)
    while len(wave) < length:
        wave = np.concatenate([wave, wave])
    # The recipe counts whole seconds first; int() rounds towards zero, so nine whole seconds give one segment.
    for index in range(int(len(wave) // rate - seconds) + 1):
        segment = wave[int(index * hop * rate) : int((index * hop + seconds) * rate)]
        if len(segment) >= length:
            yield segment


def p808_picture(segment: Samples, parameters: Mapping[str, Any]) -> NDArray[np.float32]:
    """Scaled decibel mel spectrogram (T, 120) of a segment without its last hop."""
    mel = parameters["p808_mel"]
    power = mel_power(segment[: -mel["hop"]], parameters["sample_rate"], mel["n_fft"], mel["hop"], mel["n_mels"])
    return (power_to_db(power) + np.float32(40.0)) / np.float32(40.0)
