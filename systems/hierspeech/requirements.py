"""What each task of ``hierspeech`` needs: weight files by tier, packages, and settings that go together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.api import Task, Tier, WeightFile
from bench.embedded import embedded_file
from bench.errors import NotHereError
from bench.metrics.declare import DLIB_SHAPE_68, need_modules, shipped_path
from bench.systems.hierspeech import weight_files
from bench.systems.hierspeech.face import declare
from bench.systems.wav2lip.declare import FACE_DETECTOR

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.systems.hierspeech.options import HierSpeechOptions

RATE = 16_000
TASKS: tuple[Task, ...] = ("tts", "t2av", "a2v")
SPEAKS: frozenset[Task] = frozenset({"tts", "t2av"})
SHOWS: frozenset[Task] = frozenset({"t2av", "a2v"})


@dataclass(frozen=True)
class Files:
    """The weight files of the networks that both tiers have."""

    ttv: WeightFile
    synthesizer: WeightFile
    features: WeightFile
    face: WeightFile
    silent_face: WeightFile


CANONICAL = Files(
    weight_files.TTV, weight_files.SYNTHESIZER, weight_files.MMS, declare.FACE, declare.SILENT_FACE
)  # fmt: skip


def _shipped(name: str, stage: str) -> WeightFile:
    return embedded_file("hierspeech", name, stage)


#: Shipped faces by the setting ``face_checkpoint``; the second and third are for the ablation of seed 003, table 3.
FACES = {
    "full": _shipped("face", "2"),
    "stage1": _shipped("face_stage1", "1"),
    "no_sync": _shipped("face_no_sync", "2"),
}
EMBEDDED = Files(
    ttv=_shipped("ttv", "ttv"),
    synthesizer=_shipped("synthesizer", "synthesizer"),
    features=_shipped("features", "features"),
    face=FACES["full"],
    silent_face=_shipped("silent_face", "0"),
)
#: Everything that the system can use.
ALL: Sequence[WeightFile] = (
    weight_files.TTV,
    weight_files.SYNTHESIZER,
    *weight_files.SPEECHSR.values(),
    weight_files.DENOISER,
    weight_files.MMS,
    declare.FACE,
    declare.SILENT_FACE,
    FACE_DETECTOR,
    DLIB_SHAPE_68,
    declare.VGG19,
    EMBEDDED.features,
    EMBEDDED.ttv,
    EMBEDDED.synthesizer,
    EMBEDDED.silent_face,
    *FACES.values(),
)
_FEATURES, _DETECTOR = "the features of wav2vec 2.0 MMS-300m, layer 7", "face detector S3FD"
STAND_INS: Mapping[str, str] = {
    _FEATURES: "those of a wav2vec 2.0 of 128 numbers a frame, trained on the demo's phonemes, layer 3",
    _DETECTOR: "dlib's frontal face detector",
}


@dataclass(frozen=True)
class Needs:
    """What the tasks need in ``tier`` under ``options``.

    ``looked_for``: weight files must be on this machine. ``given_detector``: faces are found by other means.
    """

    options: HierSpeechOptions
    tier: Tier
    looked_for: bool = True
    given_detector: bool = False

    @property
    def networks(self) -> Files:
        """The files of the networks."""
        return replace(EMBEDDED, face=FACES[self.options.face_checkpoint]) if self.tier == "embedded" else CANONICAL

    @property
    def detector(self) -> str:
        """``s3fd`` or ``dlib``; the tier's own where the setting leaves it open."""
        if self.options.detector != "auto":
            return self.options.detector
        return "dlib" if self.tier == "embedded" else "s3fd"

    @property
    def max_token_frames(self) -> int:
        """The most frames that a token may last; the tier's own where the setting leaves it open."""
        return self.options.max_token_frames or (60 if self.tier == "embedded" else 100)

    def check(self) -> None:
        """Settings that the tier cannot do.

        Raises:
            NotHereError: with the reason.
        """
        o = self.options
        wrong = []
        if self.tier == "embedded":
            if o.output_rate != RATE:
                wrong.append(f"output_rate={o.output_rate}: no SpeechSR is shipped, tier embedded speaks at {RATE} Hz")
            if o.denoise_ratio > 0:
                wrong.append(f"denoise_ratio={o.denoise_ratio:g}: no denoiser is shipped, tier embedded takes 0")
        elif o.face_checkpoint != "full":
            wrong.append(f"face_checkpoint={o.face_checkpoint}: only tier embedded has it")
        if wrong:
            raise NotHereError("; ".join(wrong), "`bench info hierspeech` says what is in which tier.")

    def files(self, task: Task) -> tuple[WeightFile, ...]:
        """The weight files of ``task``."""
        o, networks = self.options, self.networks
        found: list[WeightFile] = []
        if task in SPEAKS:
            found += [networks.ttv, networks.synthesizer]
            found += [weight_files.SPEECHSR[o.output_rate]] if o.output_rate != RATE else []
            found += [weight_files.DENOISER] if o.denoise_ratio > 0 else []
        if task == "a2v":
            found.append(networks.features)
        if task in SHOWS:
            found.append(networks.face)
            found += [networks.silent_face] if o.silent == "generator" else []
            found += [DLIB_SHAPE_68] if o.silent == "closed_frame" else []
            found += [FACE_DETECTOR] if self.detector == "s3fd" and not self.given_detector else []
        return tuple(found)

    def missing(self, task: Task) -> list[str]:
        """What keeps ``task`` from running here, one line each with its remedy."""
        from bench import weights

        wanted = [file for file in self.files(task) if file is not DLIB_SHAPE_68]
        lines = weights.missing(wanted) if self.looked_for else []
        return lines + self._missing_packages(task)

    def _missing_packages(self, task: Task) -> list[str]:
        from bench import espeak

        lines = espeak.available() if task in SPEAKS else []
        if task == "a2v":
            lines = [*lines, *need_modules("transformers", extra="hierspeech")]
        marks = task in SHOWS and self.options.silent == "closed_frame"
        if marks or (task in SHOWS and self.detector == "dlib" and not self.given_detector):
            lines = [*lines, *need_modules("dlib")]
        if marks and shipped_path(DLIB_SHAPE_68) is None:
            lines = [*lines, f"the model {DLIB_SHAPE_68.name} was not found: pip install {DLIB_SHAPE_68.package}"]
        return lines

    def note(self, task: Task) -> str:
        """What stands in for what in ``task``, for the foot of a table."""
        if self.tier != "embedded":
            return ""
        parts = [_FEATURES] + ([_DETECTOR] if task in SHOWS and self.detector == "dlib" else [])
        return "; ".join(f"in place of {part}: {STAND_INS[part]}" for part in parts)
