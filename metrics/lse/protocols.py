"""Declarations of ``lse/syncnet-v2-*@1``: SyncNet's settings, and how each protocol gets its pictures."""

from __future__ import annotations

from typing import Any

from bench.api import FPS, Aggregation, Protocol, Value, WeightFile
from bench.metrics.declare import ANY_STREAM
from bench.metrics.lse.s3fd_declare import S3FD_WEIGHTS, pipeline_parameters

SYNCNET_WEIGHTS = WeightFile(
    "syncnet_v2.model",
    None,
    None,
    "not stated by its authors (their code: MIT)",
    "joonson/syncnet_python (download_model.sh)",
    manifest="syncnet_v2.json",
)

_RATE = 16000  # Hz
_SYNCNET: dict[str, Any] = {
    "vshift": 15,
    "n_offsets": 31,
    "pairwise_eps": 1e-6,
    "zero_padding_of_audio_embeddings": True,
    "windows": "n = min(frames, floor(samples/640)); windows 0..n-6",
    "batch": 20,
    "frames_per_window": 5,
    "mfcc_columns_per_window": 20,
    "mfcc_columns_per_frame": 4,
    "mfcc": {
        "library": "python_speech_features 0.6 defaults",
        "input": "int16 values, not scaled",
        "winlen": 0.025,
        "winstep": 0.01,
        "numcep": 13,
        "nfilt": 26,
        "nfft": 512,
        "lowfreq": 0,
        "highfreq": 8000,
        "preemph": 0.97,
        "ceplifter": 22,
        "append_energy": True,
        "window": "rectangular",
    },
    "frames": {
        "colour": "BGR",
        "range": "0..255 float",
        "size": [224, 224],
        "resize": "OpenCV bilinear, uint8",
        "mean": None,
    },
    "fps": FPS,
    "lse_d": "min over offsets of mean distance",
    "lse_c": "median - min",
    "audio_cmd": ["-async", "1", "-ac", "1", "-vn", "-acodec", "pcm_s16le", "-ar", str(_RATE)],
    "sample_rate": _RATE,
    "resampler": "swr",  # what that command uses
}

_CAUTION = "a table without its own ground-truth row under this id is not comparable; LRS and tracked forms differ"
_FAILURES = ("no_audio_stream", "no_video_stream", "decode_error", "too_short", "missing_output", "nan")
_LRS = "Rudrabha/Wav2Lip: evaluation/scores_LSE/calculate_scores_LRS.py, SyncNetInstance_calc_scores.py"
_REAL_VIDEOS = (
    "joonson/syncnet_python: run_pipeline.py; Rudrabha/Wav2Lip: evaluation/scores_LSE/calculate_scores_real_videos.sh"
)


def _values(over_tracks: bool) -> tuple[Value, Value]:
    def value(name: str, label: str, direction: Any) -> Value:
        tracks = Aggregation("ratio", f"{name}_sum", "n_tracks")
        aggregation = tracks if over_tracks else Aggregation("mean")
        return Value(name, label, direction, "distance", low=0.0, aggregation=aggregation)

    return value("lse_c", "LSE-C", "higher"), value("lse_d", "LSE-D", "lower")


def _whole_frame(
    what: str,
    *,
    crop: str = "whole frame resized to 224x224",
    jpeg: str | None = None,
    conversion: str | None = "to 25 first (flagged)",
    used_by: tuple[str, ...] = (),
    default: bool = False,
    note: str = _CAUTION,
) -> Protocol:
    made: dict[str, Any] = {"detector": None, "crop": crop, "jpeg_roundtrip": jpeg}
    if conversion is not None:
        made["fps_conversion"] = conversion
    return Protocol(
        id=f"lse/syncnet-v2-{what}@1",
        values=_values(over_tracks=False),
        judges=ANY_STREAM,
        judges_either=True,
        needs=ANY_STREAM,
        status="needs-weights",
        parameters={**_SYNCNET, **made},
        source=_LRS,
        default=default,
        weights=(SYNCNET_WEIGHTS,),
        used_by=used_by,
        failures=_FAILURES,
        cost_hint_s=3.0,  # 70 windows
        note=note,
    )


def _pipeline(what: str, *, source: str = _LRS, used_by: tuple[str, ...] = (), **form: Any) -> Protocol:
    return Protocol(
        id=f"lse/syncnet-v2-{what}@1",
        values=_values(over_tracks=True),
        judges=ANY_STREAM,
        judges_either=True,
        needs=ANY_STREAM,
        status="needs-weights",
        parameters={**_SYNCNET, **pipeline_parameters(**form)},
        source=source,
        weights=(SYNCNET_WEIGHTS, S3FD_WEIGHTS),
        used_by=used_by,
        failures=(*_FAILURES, "no_face", "no_track"),
        cost_hint_s=10.0 if "detect_every" in form else 30.0,  # the detector, at a few frames a second
        note=f"clips of 100 frames or fewer (4 s) have no track; {_CAUTION}",
    )


WAV2LIP = _whole_frame(
    "wav2lip",
    jpeg="ffmpeg mjpeg default quality",
    conversion="to 25 first (flagged); the reference does none",
    used_by=("LRS2/LRS3 rows of lip-sync papers (Wav2Lip evaluation README)",),
    note=f"JPEG by libavcodec as at hand: equality with a given ffmpeg build is not promised; {_CAUTION}",
)
NO_JPEG = _whole_frame("wav2lip-nojpeg", default=True)
CENTER_CROP = _whole_frame(
    "centercrop",
    crop="input is declared a face crop; resized to 224x224",
    conversion=None,
    note=f"only for outputs that are face crops: naming the protocol declares so; {_CAUTION}",
)
PIPELINE = _pipeline(
    "pipeline",
    source=_REAL_VIDEOS,
    used_by=("real-video rows (Wav2Lip ReSyncED practice)", "CinePile (HiCoDiT Table 6, inferred)"),
    lossy=True,
)
PIPELINE_MEM = _pipeline("pipeline-mem")
PIPELINE_K5 = _pipeline("pipeline-k5", detect_every=5)

WHOLE_FRAME = (WAV2LIP, NO_JPEG, CENTER_CROP)
TRACKED = (PIPELINE, PIPELINE_MEM, PIPELINE_K5)
