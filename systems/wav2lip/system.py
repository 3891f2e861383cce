"""Wav2Lip: a video dubbed with other speech, its mouth redrawn frame by frame.

Prajwal et al., "A Lip Sync Expert Is All You Need for Speech to Lip Generation In the Wild", 2020; inference as
``Rudrabha/Wav2Lip: inference.py`` does it (tfg.md 1.8), but the video is encoded once, by the harness.
The audio decides the length: a shorter video begins anew, and the last 0.16 s or so have no window of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api import FPS, Failure, Output, Request, System, Task, Tier, Unscorable, WeightFile
from bench.embedded import EMBEDDED
from bench.metrics.declare import need_modules
from bench.networks import OFFICIAL
from bench.systems.wav2lip.declare import (
    ALL,
    CHECKPOINTS,
    DETECTOR_PART,
    FACE_DETECTOR,
    GENERATOR_PART,
    SMALL_GENERATOR,
    STAND_INS,
)
from bench.trained import no_such_files

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pydantic import BaseModel

    from bench.faces.detect import Detect
    from bench.faces.known import KnownFaces
    from bench.networks import WeightSource
    from bench.records import Frames
    from bench.systems.wav2lip.generator import GeneratorSizes, Wav2LipGenerator
    from bench.systems.wav2lip.options import Wav2LipOptions


class Wav2Lip(System):
    """``--system wav2lip``; settings are :class:`bench.systems.wav2lip.options.Wav2LipOptions`.

    Tier embedded: the same generator, small (configuration ``tiny`` of its training), with a file that is shipped, and
    dlib's detector.
    """

    name = "wav2lip"
    version = "1"
    tasks: tuple[Task, ...] = ("a2v",)
    tier: Tier = "canonical"
    tiers = ("canonical", "embedded")
    stand_ins = STAND_INS
    uses = frozenset({"identity"})
    local_settings = frozenset({"trained"})
    weights: Sequence[WeightFile] = ALL
    summary = "the mouth of a video redrawn to match speech"
    licence = "code Apache-2.0; weights for personal, research and non-commercial use"
    source = "arXiv 2008.10010; Rudrabha/Wav2Lip"

    def __init__(
        self,
        settings: Mapping[str, Any] | None = None,
        weights: WeightSource | None = None,
        detect: Detect | None = None,
        sizes: GeneratorSizes | None = None,
    ) -> None:
        """``weights`` fills the networks, else the files of the tier do. ``detect`` finds faces in place of the
        detector of the settings; ``sizes`` are the generator's, else the tier's."""
        super().__init__(settings)
        self._options = self._validated()
        self._small = self.tier == "embedded"
        self._source: WeightSource = weights or (EMBEDDED if self._small else OFFICIAL)
        self._sizes = sizes
        self._checkpoint = SMALL_GENERATOR if self._small else CHECKPOINTS[self._options.checkpoint]
        self._given_detector = detect
        self._detector_name = self._options.detector
        if self._detector_name == "auto":
            self._detector_name = "dlib" if self._small else "s3fd"
        if self._options.trained:
            self.tier = "embedded"  # results of own weights are not those of the published ones
        own = () if self._options.trained else (self._checkpoint,)
        s3fd = detect is None and self._detector_name == "s3fd"
        self.weights = (*own, FACE_DETECTOR) if s3fd else own
        self._device = "cpu"
        self._network: Wav2LipGenerator | None = None
        self._faces: KnownFaces | None = None

    @classmethod
    def options(cls) -> type[BaseModel]:
        """See :meth:`bench.api.System.options`."""
        from bench.systems.wav2lip.options import Wav2LipOptions

        return Wav2LipOptions

    @classmethod
    def stages(cls) -> Mapping[str, str]:
        """The lip-sync expert, then the generator that is judged by it."""
        module = "bench.systems.wav2lip.training"
        return {"expert": f"{module}:expert", "generator": f"{module}:generator"}

    def _validated(self) -> Wav2LipOptions:
        from bench.systems.wav2lip.options import Wav2LipOptions

        known = {key: self.settings[key] for key in Wav2LipOptions.model_fields if key in self.settings}
        return Wav2LipOptions(**known)

    def missing(self) -> list[str]:
        """The weight files that are not here, and what the tier does not have."""
        from bench import weights

        trained, checkpoint = self._options.trained, self._options.checkpoint
        lines = no_such_files({"trained": trained})
        if self._small and checkpoint != "wav2lip" and not trained:
            lines.append(f"checkpoint={checkpoint}: tier embedded has one generator, trained without a discriminator")
        lines += weights.missing(self.weights)
        if self._detector_name == "dlib" and self._given_detector is None:
            lines += need_modules("dlib")
        return lines

    def note_for(self, task: Task) -> str:
        """What stands in for what in tier embedded."""
        if not self._small:
            return ""
        parts = [] if self._options.trained else [GENERATOR_PART]
        parts += [DETECTOR_PART] if self._detector_name == "dlib" else []
        return "; ".join(f"in place of {part}: {STAND_INS[part]}" for part in parts)

    def fingerprint(self) -> str:
        """The hash of ``trained``: where it lies does not matter."""
        from bench.weights import sha256

        return sha256(Path(self._options.trained)) if self._options.trained else ""

    def load(self, device: str, dtype: str) -> None:
        """The generator, its normalisations folded, and the detector."""
        import torch

        from bench.faces.known import KnownFaces
        from bench.systems.wav2lip.blocks import folded

        if device.startswith("cuda"):  # TF32 would give other pictures than a CPU
            torch.backends.cuda.matmul.allow_tf32 = False
            torch.backends.cudnn.allow_tf32 = False
        network = folded(self._generator())
        self._network = network.to(torch.device(device), getattr(torch, dtype))
        self._network = self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._device = device
        self._faces = KnownFaces(self._given_detector or self._detector())

    def _generator(self) -> Wav2LipGenerator:
        from bench.systems.wav2lip.generator import GeneratorSizes, Wav2LipGenerator
        from bench.systems.wav2lip.trained import generator_of

        if self._options.trained:
            return generator_of(Path(self._options.trained))
        if self._sizes is None and self._small:
            from bench.systems.wav2lip.training_options import SIZES

            self._sizes = SIZES["tiny"].sizes
        return self._source.fill(Wav2LipGenerator(self._sizes or GeneratorSizes()), self._checkpoint)

    def _detector(self) -> Detect:
        if self._detector_name == "dlib":
            from bench.faces.detect import DlibDetector

            return DlibDetector()
        from bench.faces.s3fd import S3FD, S3fdDetector

        network = (OFFICIAL if self._source is EMBEDDED else self._source).fill(S3FD(), FACE_DETECTOR)
        return S3fdDetector(network, self._device, self._options.detector_batch_size)

    def generate(self, requests: Sequence[Request]) -> Sequence[Output | Failure]:
        """One dubbed video per request."""
        results: list[Output | Failure] = []
        for request in requests:
            try:
                results.append(Output(video=self._dubbed(request)))
            except Unscorable as error:
                results.append(Failure(error.kind, error.detail))
        return results

    def _dubbed(self, request: Request) -> Frames:
        from bench.faces.boxes import Pads
        from bench.faces.redraw import at_once, fill_up, looped, read_frames, redraw
        from bench.faces.tracks import place

        if self._network is None or self._faces is None:
            raise RuntimeError("load() comes before generate()")
        if request.identity is None:
            raise Unscorable("missing_reference", "no video to redraw")
        speech = _speech_windows(request)
        options = self._options
        room, filled = read_frames(request.identity, len(speech), request.workdir, options.resize_factor)
        found = self._faces.of(room[:filled], request.identity_key)
        face = options.face if isinstance(options.face, int) else None
        placed = place(found, (room.shape[1], room.shape[2]), Pads(*options.pads), face, options.smooth)
        order = looped(len(speech), filled)
        fill_up(room, order)
        network = self._network

        def make(crops: Frames, places: NDArray[np.intp]) -> Frames:
            return _faces_made(network, crops, speech[places])

        batch = at_once(options.batch_size, next(network.parameters()).device.type)
        redraw(room, order, placed, make, size=network.sizes.image, batch=batch)
        return room


def _speech_windows(request: Request) -> NDArray[np.float32]:
    """Mel windows (n, 1, 80, 16) of the driving audio, one per frame of the output."""
    from bench import media
    from bench.api import Source
    from bench.systems.wav2lip.mel import RATE, driving_mel, window_starts, windows

    if request.audio is None:
        raise Unscorable("missing_reference", "no driving audio")
    audio = media.decode_audio(Source(request.audio))
    mel = driving_mel(media.resample(audio.samples, audio.rate, RATE))
    return windows(mel, window_starts(mel.shape[1], FPS))


def _faces_made(network: Wav2LipGenerator, crops: Frames, speech: NDArray[np.float32]) -> Frames:
    """RGB crops (b, S, S, 3) and mel windows (b, 1, 80, 16) to RGB faces (b, S, S, 3)."""
    import torch

    from bench.faces.paste import network_input, to_levels

    weight = next(network.parameters())
    with torch.inference_mode():
        seen = torch.from_numpy(network_input(crops[..., ::-1])).to(weight.device)  # (b, 6, S, S), blue first
        seen = (seen.to(torch.float32) / 255.0).to(weight.dtype).contiguous(memory_format=torch.channels_last)
        made = network(torch.from_numpy(speech).to(weight.device, weight.dtype), seen)
    return to_levels(made.float().cpu().numpy())[..., ::-1]
