"""LSE-C (higher is better) and LSE-D (lower is better): how well lips and speech agree by SyncNet.

Six protocols of one network. The whole frame squeezed to 224x224, with and without the reference's JPEG step
(``-wav2lip``, ``-wav2lip-nojpeg``, and ``-centercrop`` for outputs that are face crops); and face tracks
by S3FD (``-pipeline``, ``-pipeline-mem``, ``-pipeline-k5``), where a clip's value is the mean over its tracks and a
set's the mean over all tracks of all clips. Definition: :mod:`bench.metrics.lse.offsets`; source and papers:
``joonson/syncnet_python``, ``Rudrabha/Wav2Lip``.

Streams are cut to the shorter one; fewer than 6 common frames are ``too_short``; up to 20 are scored and
flagged ``short_for_offsets``; silence is scored and flagged. Embeddings follow their stream: for a task
that generates audio the lips of the given video are looked at once for all systems.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bench.api import Failure, Metric, Protocol, Reference, Score, Unscorable
from bench.metrics.declare import need_modules, need_weights
from bench.metrics.lse.protocols import SYNCNET_WEIGHTS, TRACKED, WHOLE_FRAME
from bench.metrics.lse.s3fd_declare import S3FD_WEIGHTS
from bench.networks import OFFICIAL

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bench.media import Media
    from bench.metrics.lse.s3fd import Detect
    from bench.metrics.lse.syncnet_net import Fast
    from bench.networks import WeightSource
    from bench.records import Array

    Pcm = NDArray[np.int16]


#: With what a detector for :class:`Lse` is made; the same for all protocols with tracks.
DETECTOR_PARAMETERS: Mapping[str, Any] = TRACKED[0].parameters


class Lse(Metric):
    """Judges whichever stream the task generates, against the other one."""

    name = "lse"
    protocols = (*WHOLE_FRAME, *TRACKED)
    summary = "Lip-sync confidence (LSE-C) and distance (LSE-D) by SyncNet v2"
    licence = "Apache-2.0; weights of SyncNet and S3FD: not stated by their authors"

    def __init__(self, weights: WeightSource = OFFICIAL, detect: Detect | None = None) -> None:
        """``detect`` finds faces in place of S3FD; its ``identity`` names it in feature keys."""
        self._weights = weights
        self._detect = detect
        self._given_detector = detect is not None
        self._device = "cpu"
        self._net: Fast | None = None

    def missing(self, protocol_id: str) -> list[str]:
        """See :meth:`bench.api.Metric.missing`."""
        protocol = next(p for p in self.protocols if p.id == protocol_id)
        files = [file for file in protocol.weights if not (self._given_detector and file is S3FD_WEIGHTS)]
        return need_modules("torch", "cv2", "scipy") + need_weights(*files)

    def load(self, device: str) -> None:
        """SyncNet now; the detector when a protocol needs it."""
        if device.startswith("cuda"):  # TF32 would be another protocol
            import torch

            torch.backends.cuda.matmul.allow_tf32 = False
            torch.backends.cudnn.allow_tf32 = False
        self._device = device
        self._net = self._filled(device)

    def score(
        self, protocol_ids: Sequence[str], output: Media, reference: Media, truth: Reference
    ) -> Mapping[str, Score | Failure]:
        """``output`` holds both streams: the generated one, and the given one where the task has one."""
        results: dict[str, Score | Failure] = {}
        for protocol in self.protocols:
            if protocol.id in protocol_ids:
                try:
                    results[protocol.id] = self._score(protocol, output)
                except Unscorable as error:
                    results[protocol.id] = Failure(error.kind, error.detail)
        return results

    def _score(self, protocol: Protocol, output: Media) -> Score:
        from bench.metrics.recognise import is_silent

        pcm = _pcm(output, protocol.parameters)  # first: it is quick, and may save the work on pictures
        measure = self._tracks if protocol in TRACKED else self._clip
        score = measure(protocol, output, pcm)
        flags = {"silent_audio": float(is_silent(pcm)), "fps_converted": float(output.fps_converted)}
        return replace(score, parts={**score.parts, **flags})

    def _clip(self, protocol: Protocol, output: Media, pcm: Pcm) -> Score:
        """The clip as it is, without a detector."""
        from bench.metrics.lse.compare import common, compare

        settings = protocol.parameters
        length = common(output.n_frames, pcm.size, settings)
        if length.n_windows < 1:
            least = settings["frames_per_window"] + 1
            raise Unscorable("too_short", f"{length.n_frames} common frames of video and audio, at least {least}")
        lips, speech = self._lips(protocol, output), self._speech(output, pcm, settings)
        sync = compare(lips, speech, length.n_windows, settings)
        return Score({"lse_c": sync.lse_c, "lse_d": sync.lse_d}, {"offset": float(sync.offset), **length.parts()})

    def _lips(self, protocol: Protocol, output: Media) -> Array:
        from bench.metrics.lse.embed import embed_lips
        from bench.metrics.lse.lrs import whole_frames

        settings, net = protocol.parameters, self._network()
        form = "frames" if settings["jpeg_roundtrip"] is None else "frames-mjpeg"
        key = f"video:syncnet-v2-{form}-{self._weights.identity(SYNCNET_WEIGHTS)}@1"
        return output.feature(key, lambda: {"lips": embed_lips(net, whole_frames(output, settings), settings)})["lips"]

    def _speech(self, output: Media, pcm: Pcm, settings: Mapping[str, Any]) -> Array:
        from bench.metrics.lse.embed import embed_audio

        net = self._network()
        key = f"audio:syncnet-v2-{self._weights.identity(SYNCNET_WEIGHTS)}@1"
        return output.feature(key, lambda: {"speech": embed_audio(net, pcm, settings)})["speech"]

    def _tracks(self, protocol: Protocol, output: Media, pcm: Pcm) -> Score:
        """The clip's face tracks, each against its stretch of the audio (cut from the medium by the tracker)."""
        from bench.metrics.lse.pipeline import track_crops
        from bench.metrics.lse.track_scores import score_tracks, track_lips

        settings, net, detect = protocol.parameters, self._network(), self._detector()
        tracks = track_crops(output, settings, detect)
        form = protocol.id.partition("/")[2].partition("@")[0]
        key = f"video:{form}-{detect.identity}-{self._weights.identity(SYNCNET_WEIGHTS)}@1"
        lips = output.feature(key, lambda: track_lips(net, tracks, settings))
        return score_tracks(net, tracks, lips, settings)

    def _network(self) -> Fast:
        if self._net is None:
            self._net = self._filled(self._device)
        return self._net

    def _filled(self, device: str) -> Fast:
        from bench.metrics.lse.syncnet_net import Fast, SyncNet

        return Fast(self._weights.fill(SyncNet(), SYNCNET_WEIGHTS).to(device))

    def _detector(self) -> Detect:
        if self._detect is None:
            from bench.metrics.lse.s3fd import make_detector

            self._detect = make_detector(self._weights, self._device, DETECTOR_PARAMETERS)
        return self._detect


def _pcm(output: Media, settings: Mapping[str, Any]) -> Pcm:
    """16-bit samples (N,) as the reference's ffmpeg command writes them."""
    import numpy as np

    from bench.media import to_int16

    samples = output.audio(settings["sample_rate"], settings["resampler"])
    if not np.isfinite(samples).all():
        raise Unscorable("nan", "the audio has samples that are not finite")
    return to_int16(samples)
