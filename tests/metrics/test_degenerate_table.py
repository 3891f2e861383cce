"""Degenerate clips before every metric at once: silence, missing faces, cuts, short and broken streams.

One row per clip; a metric that is not named in it gives numbers. Networks of user-brought weights are filled by
rule; those of UTMOS, ArcFace and Whisper are small, FID's is left out, and face tracks start from dlib's boxes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from audio_helpers import SENTENCES, noise, speech
from video_helpers import SOMEWHERE, ArrayMedia, clip, portrait
from whisper_helpers import SMALL

from bench.api import FAILURE_KINDS, Failure, Metric, Reference, Score, Unscorable
from bench.media import resample
from bench.metrics import fid
from bench.metrics.avsync import AvSync
from bench.metrics.csim.arcface import ARCFACE, BACKBONE, CsimArcface
from bench.metrics.csim.dlib_resnet import CsimDlib
from bench.metrics.dnsmos import Dnsmos
from bench.metrics.duration import Duration
from bench.metrics.estoi import Estoi
from bench.metrics.f0rmse import F0Rmse
from bench.metrics.fd import FdDlib
from bench.metrics.fid import Fid
from bench.metrics.lmd import Lmd
from bench.metrics.lse.dlib_boxes import dlib_detect
from bench.metrics.lse.metric import DETECTOR_PARAMETERS, Lse
from bench.metrics.lse.protocols import SYNCNET_WEIGHTS
from bench.metrics.mcd import Mcd
from bench.metrics.pesq_wb import Pesq
from bench.metrics.psnr import Psnr
from bench.metrics.secs import Secs
from bench.metrics.ssim import Ssim
from bench.metrics.utmos import PARAMETERS as UTMOS_PARAMETERS
from bench.metrics.utmos import WEIGHTS as UTMOS_WEIGHTS
from bench.metrics.utmos import Utmos
from bench.metrics.wer import Wer
from bench.metrics.whisper_wer import WhisperWer
from bench.networks import Seeded
from bench.score_worker import checked

SEEDED = Seeded({SYNCNET_WEIGHTS.name: 2.45, UTMOS_WEIGHTS.name: 1.2, BACKBONE.name: 2.45})
AUDIO = ("dnsmos", "duration", "estoi", "f0rmse", "mcd", "pesq", "secs", "utmos", "wer", "whisper")
VIDEO = ("csim", "csim-arcface", "fd", "fid", "lmd", "psnr", "ssim")
BOTH = ("avsync", "lse", "lse-tracks")
PAIRS = ("estoi", "f0rmse", "mcd", "pesq", "secs")  # need speech on both sides
FACES = ("avsync", "csim", "csim-arcface", "lmd")
#: What is asked of a family where it has more than one protocol.
ASKED = {
    "fid": "fid/inception-pt@1",
    "lmd": "lmd/mouth20-iod@1",
    "lse": "lse/syncnet-v2-wav2lip-nojpeg@1",
    "psnr": "psnr/rgb@1",
    "ssim": "ssim/skimage-gaussian@1",
    "wer": "wer/pocketsphinx-grid@1",
    "whisper": "wer/whisper-medium@1",
}
SMALL_ARCFACE = {"layers": [1, 1, 1, 1]}
SMALL_UTMOS = {"conv_channels": 32, "width": 64, "heads": 4, "ffn": 64, "layers": 1, "emb": 16, "lstm": 16, "proj": 32}
N = 9  # frames of a clip
RATE = 16000


class Wave(ArrayMedia):
    """With sound of 16 kHz that is resampled as asked."""

    @property
    def audio_rate(self) -> int:
        return RATE

    def audio(self, rate: int | None = None, method: Any = "soxr_hq") -> Any:
        wave = super().audio()
        return wave if rate in (None, RATE) else resample(wave, RATE, rate, method)


@lru_cache(maxsize=1)
def said() -> Any:
    """1.6 s of speech."""
    return speech()[4000 : 4000 + 40 * 640]


def faces(n: int = N) -> Any:
    return clip(n)


def blind(n: int, seen: int) -> Any:
    """Faces in the first ``seen`` of ``n`` frames."""
    frames = faces(n)
    frames[seen:] = 90
    return frames


def two_faces(n: int = N) -> Any:
    return np.concatenate([faces(n), faces(n)[:, :, ::-1]], axis=2)


def cut(n: int = N) -> Any:
    """Another picture of the same face from the middle on."""
    frames = faces(n)
    frames[n // 2 :] = portrait()[:, ::-1] // 2
    return frames


@dataclass(frozen=True)
class Row:
    """A clip against its truth (the same where not given), and the kind of failure by metric; others give numbers."""

    frames: Any
    wave: Any
    true_frames: Any = None
    true_wave: Any = None
    transcript: str = SENTENCES[0]
    failures: dict[str, str] = field(default_factory=dict)
    parts: dict[str, dict[str, float]] = field(default_factory=dict)


def each(names: Any, kind: str) -> dict[str, str]:
    return dict.fromkeys(names, kind)


#: Of every clip of fewer frames: lse-tracks needs more than 100, avsync 50, fd 256 faces (by the set, so no failure).
SHORT = {"lse-tracks": "no_track", "avsync": "too_short"}

ROWS: dict[str, Any] = {
    "an ordinary clip": lambda: Row(faces(), said(), failures=SHORT),
    "silence": lambda: Row(
        faces(),
        np.zeros_like(said()),
        true_wave=said(),
        failures={**SHORT, **each(("dnsmos", *PAIRS), "silent_audio")},
        parts={name: {"silent_audio": 1.0} for name in ("lse", "utmos", "wer", "whisper")},
    ),
    "no speech": lambda: Row(  # nothing that a voice activity detector keeps, and no voiced frame
        faces(),
        noise(len(said()), 0.02),
        true_wave=said(),
        failures={**SHORT, **each(("secs", "f0rmse"), "silent_audio")},
    ),
    "no face at all": lambda: Row(np.full_like(faces(), 90), said(), failures={**SHORT, **each(FACES[1:], "no_face")}),
    "a face in a third of the frames": lambda: Row(  # csim looks at frames 0 and 5, of which one is half
        blind(N, 3), said(), true_frames=faces(), failures={**SHORT, **each(("csim-arcface", "lmd"), "no_face")}
    ),
    "a face in two thirds of the frames": lambda: Row(
        blind(N, 6),
        said(),
        true_frames=faces(),
        failures=SHORT,
        parts={"csim-arcface": {"n_frames": 6.0, "n_frames_noface": 3.0}, "lmd": {"n_frames_noface": 3.0}},
    ),
    "two faces": lambda: Row(
        two_faces(), said(), failures=SHORT, parts={"csim-arcface": {"n_frames_multiple": float(N)}}
    ),
    "a cut": lambda: Row(cut(), said(), failures=SHORT),
    "one frame and one frame's sound": lambda: Row(
        faces(1),
        said()[8000:8640],
        failures={**SHORT, **each((*AUDIO, "lse"), "too_short"), "duration": "", "secs": "silent_audio"},
    ),  # 40 ms are enough for SECS, but hold no speech that it would keep
    "fewer frames than a window of SyncNet": lambda: Row(faces(5), said(), failures={**SHORT, "lse": "too_short"}),
    "as many frames as a window of SyncNet and one": lambda: Row(
        faces(6), said(), failures=SHORT, parts={"lse": {"n_windows": 1.0, "short_for_offsets": 1.0}}
    ),
    "sound 40 ms longer": lambda: Row(faces(), np.concatenate([said(), noise(640)]), true_wave=said(), failures=SHORT),
    "sound 40 ms shorter": lambda: Row(faces(), said()[:-640], true_wave=said(), failures=SHORT),
    "NaN in the sound": lambda: Row(
        faces(),
        np.where(np.arange(len(said())) == 9999, np.nan, said()),
        true_wave=said(),
        failures={**SHORT, **each((*AUDIO, "lse", "lse-tracks"), "nan"), "duration": ""},
    ),
    "no words in the reference": lambda: Row(
        faces(), said(), transcript="[noise] um", failures={**SHORT, **each(("wer", "whisper"), "empty_reference")}
    ),
    "no sound": lambda: Row(faces(), None, true_wave=said(), failures=each((*AUDIO, *BOTH), "no_audio_stream")),
    "no picture": lambda: Row(None, said(), true_frames=faces(), failures=each((*VIDEO, *BOTH), "no_video_stream")),
    "neither in the reference": lambda: Row(
        faces(),
        said(),
        true_frames=False,
        true_wave=False,
        failures={**SHORT, **each((*VIDEO, *PAIRS, "duration"), "missing_reference"), "secs": "no_audio_stream"},
    ),  # SECS is declared with that kind for both sides, and its detail names the ground truth
}


def moments(picture: Any) -> Any:
    """Means and deviations of the channels, in place of FID's features."""
    return np.concatenate([picture.mean(axis=(0, 1)), picture.std(axis=(0, 1))]).astype(np.float32)


@pytest.fixture(scope="module")
def metrics() -> Iterator[dict[str, Metric]]:
    """All of them, by the names of the rows."""
    for package in ("pocketsphinx", "speechmos", "onnxruntime", "pystoi", "pesq", "librosa"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    with pytest.MonkeyPatch.context() as patch:
        for parameters, small in ((ARCFACE.parameters, SMALL_ARCFACE), (UTMOS_PARAMETERS, SMALL_UTMOS)):
            patch.setitem(parameters, "network", {**parameters["network"], **small})  # type: ignore[arg-type]
        patch.setattr(fid, "pool3", lambda network, pictures, side, device: np.stack([moments(p) for p in pictures]))
        patch.setattr(fid, "inception", lambda weights, device: object())
        lse = Lse(SEEDED, dlib_detect(DETECTOR_PARAMETERS))
        found: dict[str, Metric] = {
            "lse": lse,
            "lse-tracks": lse,
            "utmos": Utmos(SEEDED),
            "fid": Fid(SEEDED),
            "csim-arcface": CsimArcface(SEEDED),
            "whisper": WhisperWer(SEEDED, SMALL),
        }
        for kind in (AvSync, CsimDlib, Dnsmos, Duration, Estoi, F0Rmse, FdDlib, Lmd, Mcd, Pesq, Psnr, Secs, Ssim, Wer):
            found[kind.name] = kind()
        assert sorted(found) == sorted((*AUDIO, *VIDEO, *BOTH))
        for metric in found.values():
            metric.load("cpu")
        yield found


def asked(name: str, metric: Metric) -> str:
    if name == "lse-tracks":
        return "lse/syncnet-v2-pipeline-mem@1"
    return ASKED.get(name, metric.protocols[0].id)


def outcome(name: str, metric: Metric, output: Wave, reference: Wave, truth: Reference) -> Score | Failure:
    """As a scoring worker has it: what is raised becomes the failure of this metric alone."""
    protocol_id = asked(name, metric)
    (protocol,) = (p for p in metric.protocols if p.id == protocol_id)
    try:
        return checked(protocol, metric.score([protocol_id], output, reference, truth)[protocol_id])
    except Unscorable as error:
        return Failure(error.kind, error.detail)


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    """Features of the ordinary truth, shared by the rows that have it."""
    return {}


def of_truth(given: Any, output: Any) -> Any:
    return output if given is None else None if given is False else given


@pytest.mark.parametrize("row", ROWS)
def test_every_metric_has_a_number_or_its_kind(row: str, metrics: dict[str, Metric], kept: dict[str, Any]) -> None:
    case: Row = ROWS[row]()
    true_frames, true_wave = of_truth(case.true_frames, case.frames), of_truth(case.true_wave, case.wave)
    ordinary = np.array_equal(true_frames, faces()) and np.array_equal(true_wave, said())
    output, reference = Wave(case.frames, case.wave), Wave(true_frames, true_wave, stored=kept if ordinary else None)
    truth = Reference("clip", "0" * 64, SOMEWHERE, SOMEWHERE, case.transcript, own_length=True, task="t2av")
    results = {name: outcome(name, metric, output, reference, truth) for name, metric in metrics.items()}
    kept |= reference.new_features if ordinary else {}
    kinds = {name: result.kind for name, result in results.items() if isinstance(result, Failure)}
    assert kinds == {name: kind for name, kind in case.failures.items() if kind}
    assert set(kinds.values()) <= set(FAILURE_KINDS)
    for name, parts in case.parts.items():
        result = results[name]
        assert isinstance(result, Score)
        assert {key: result.parts[key] for key in parts} == parts
