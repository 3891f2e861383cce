"""Lip-sync without downloads: ``avsync/dlib-mouth-envelope@1`` (metrics.md 4). It is not LSE.

Correlation r(k) of the mouth's opening in frame t with the loudness in frame t + k, k = -15..15:
``avs_corr`` is its maximum (headline, higher is better), ``avs_offset`` the k of the maximum in
frames (positive: the audio is later than the mouth), ``avs_conf`` the maximum less the median, and
``avs_corr0`` r(0). A coarse coupling of opening and loudness: over many clips of clean frontal
speech it tells shuffled audio from true audio; it does not rank good systems.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bench.api import FPS, Failure, Metric, Protocol, Reference, Score, Unscorable, Value
from bench.metrics.declare import ANY_STREAM, DLIB_SHAPE_68
from bench.metrics.video_declare import EVERY_FRAME

if TYPE_CHECKING:
    from bench.media import Media
    from bench.metrics.faces import FaceTrack
    from bench.records import Samples

SILENCE_RMS = 1e-3  # -60 dBFS, for the flag alone

MOUTH_ENVELOPE = Protocol(
    id="avsync/dlib-mouth-envelope@1",
    values=(
        Value("avs_corr", "AVS-corr", "higher", "correlation", low=-1.0, high=1.0),
        Value("avs_conf", "AVS-conf", "higher", "correlation", low=0.0, high=2.0, headline=False),
        Value("avs_offset", "AVS-offset", "zero", "frames", low=-15.0, high=15.0, headline=False, digits=2),
        Value("avs_corr0", "AVS-corr0", "higher", "correlation", low=-1.0, high=1.0),
    ),
    judges=ANY_STREAM,
    judges_either=True,
    needs=ANY_STREAM,
    status="offline-real",
    parameters={
        "fps": FPS,
        "sample_rate": 16000,
        "opening": "mean(|61-67|,|62-66|,|63-65|)/inter-ocular(36-41,42-47)",
        "envelope": "20*log10(max(rms over 640 samples, 1e-4))",
        "max_shift": 15,
        "min_pairs": 25,
        "min_frames": 50,
        "max_gap_interpolated": 5,
        "max_missing_fraction": 0.2,
        "correlation": "Pearson of m[t], e[t+k]",
        "frames": EVERY_FRAME,
    },
    source="project; landmarks: davisking/dlib",
    default=True,
    weights=(DLIB_SHAPE_68,),
    failures=("no_face", "too_short", "no_audio_stream", "no_video_stream"),
    cost_hint_s=1.3,  # detection, unless lmd has done it
    note="a proxy; never mixed with LSE",
)


class AvSync(Metric):
    """Coupling of mouth opening and loudness. Judges whichever stream the task generates."""

    name = "avsync"
    protocols = (MOUTH_ENVELOPE,)
    summary = "Correlation of mouth opening and loudness, and the shift where it peaks"
    licence = "Apache-2.0; dlib's 68 landmarks: no commercial use"

    def missing(self, protocol_id: str) -> list[str]:
        """See :meth:`bench.api.Metric.missing`."""
        from bench.metrics.faces import missing_models

        return missing_models(DLIB_SHAPE_68)

    def load(self, device: str) -> None:
        """See :meth:`bench.api.Metric.load`; dlib runs on the CPU whatever the device."""
        from bench.metrics.faces import load_models

        load_models()

    def score(
        self, protocol_ids: Sequence[str], output: Media, reference: Media, truth: Reference
    ) -> Mapping[str, Score | Failure]:
        """``output`` holds both streams: the generated one, and the given one where the task has one."""
        from bench.metrics.faces import faces

        # Audio first: it is quick, and a missing stream saves the search for faces.
        samples = output.audio(MOUTH_ENVELOPE.parameters["sample_rate"])
        return dict.fromkeys(protocol_ids, _score(faces(output), samples))


def _score(track: FaceTrack, samples: Samples) -> Score:
    import numpy as np

    from bench.metrics import mouth

    settings = MOUTH_ENVELOPE.parameters
    samples_per_frame, rest = divmod(settings["sample_rate"], settings["fps"])
    if rest:
        raise ValueError("sample_rate must be a multiple of fps")
    envelope = mouth.envelope_db(samples, samples_per_frame)
    raw = mouth.mouth_opening(track.landmarks)
    valid = track.found & np.isfinite(raw)
    n = min(len(raw), len(envelope))
    if n < settings["min_frames"]:
        raise Unscorable("too_short", f"{n} common frames, at least {settings['min_frames']} are needed")
    missing = int(np.count_nonzero(~valid[:n]))
    if missing > settings["max_missing_fraction"] * n:
        raise Unscorable("no_face", f"{missing} of {n} frames show no face")
    opening, used = mouth.bridge_gaps(raw, valid, settings["max_gap_interpolated"])
    found = mouth.coupling(
        mouth.shifted_correlations(opening, used, envelope, settings["max_shift"], settings["min_pairs"])
    )
    rms = float(np.sqrt(np.mean(np.square(samples.astype(np.float64)))))
    parts = {
        "n_frames": float(n),
        "n_frames_noface": float(missing),
        "silent_audio": float(rms < SILENCE_RMS),
        "fps_converted": float(track.fps_converted),
        "length_differs": float(len(raw) != len(envelope)),
    }
    return Score({f"avs_{name}": value for name, value in found._asdict().items()}, parts)
