"""What a run of ``hicodit`` needs: weight files by tier, packages, and settings that can be used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.api import Tier, WeightFile
from bench.errors import NotHereError, UsageError
from bench.metrics.declare import need_modules
from bench.systems.hicodit import weight_files as files
from bench.trained import no_such_files

if TYPE_CHECKING:
    from bench.systems.hicodit.options import HiCoDiTOptions

_MODEL = "8 + 8 blocks of width 768"
_LIPS = "AV-HuBERT"
_VOICE = "the speech embedding GE2E"
_FACE = "the face embedding ArcFace"
_CODEC = "the codec, 12 levels of 1024 codes"
STAND_INS: Mapping[str, str] = {
    _MODEL: "the same classes, 3 + 3 blocks of width 160, trained on the demo corpus",
    _LIPS: "three convolutions over 44 by 44 grey mouths, trained with the model",
    _VOICE: "64 random projections of the mean spectrum and its spread",
    _FACE: "the mean frame at 8 by 8 grey values",
    _CODEC: "4 levels of 256 codes, fitted on log-mel frames, inverted by Griffin-Lim",
}

_NO_WEIGHTS = (
    "no weights of HiCoDiT are public: train them with `bench train hicodit --stage dit --config full`, then "
    "--set dit=FOLDER/weights.safetensors"
)


@dataclass(frozen=True)
class Needs:
    """What ``tier`` needs under ``options``. ``looked_for``: weight files must be on this machine."""

    options: HiCoDiTOptions
    tier: Tier
    looked_for: bool = True

    @property
    def small(self) -> bool:
        """Whether the tiny configuration runs."""
        return self.tier == "embedded"

    def check(self) -> None:
        """Settings that do not go together, or that the tier cannot do.

        Raises:
            UsageError: with the reason.
        """
        from bench.systems.hicodit.options import manner_of

        manner = manner_of(self.options, self.tier)
        if manner.overlap * 2 >= manner.window:
            raise UsageError(
                f"overlap_seconds={manner.overlap:g} is half of window_seconds={manner.window:g} or more",
                "give windows that share less.",
            )
        if self.small and self.options.codec != "dac_16k":
            raise NotHereError(f"codec={self.options.codec}: tier embedded has one codec", "leave it out.")
        emotion, given = self.options.emotion, self.options.emotion_file is not None
        if emotion == "poster2" and not given:
            raise UsageError("emotion=poster2 needs emotion_file", "the file is yours, as TorchScript.")
        if emotion == "constant" and given:
            raise UsageError("emotion_file is of no use to emotion=constant", "set emotion=poster2, or emotion=tiny.")

    def files(self) -> tuple[WeightFile, ...]:
        """The weight files."""
        given = self.options
        expression = (files.TINY_EXPRESSION,) if given.emotion == "tiny" and not given.emotion_file else ()
        if self.small:
            pairs = ((given.dit, files.TINY), (given.codec_file, files.TINY_CODEC))
            return (*(weight for path, weight in pairs if not path), *expression)
        face = (files.ARCFACE,) if given.mode == "video" else ()
        codec = () if given.codec_file else files.CODECS[given.codec]
        return (files.AV_HUBERT, *face, *codec, *expression)

    def missing(self) -> list[str]:
        """What keeps the system from running, one line each with its remedy."""
        from bench import weights

        lines = [] if self.small or self.options.dit or not self.looked_for else [_NO_WEIGHTS]
        lines += weights.missing(self.files()) if self.looked_for else []
        lines += no_such_files(self.given())
        lines += need_modules("dlib")
        if self.options.mode == "audio" and not self.small:
            lines += need_modules("resemblyzer")
        return lines

    def given(self) -> dict[str, str]:
        """Files that settings name."""
        named = ("dit", "codec_file", "emotion_file")
        return {name: path for name in named if (path := getattr(self.options, name)) is not None}

    def note(self) -> str:
        """Whose voice is heard, and in tier embedded what stands in for what, for the foot of a table."""
        heard = self.options.mode == "audio"
        notes = ["the voice is that of the reference" if heard else "the voice is guessed from the face"]
        if self.options.dit:
            notes.append("the model is of one's own training")
        if self.small:
            parts = (_MODEL, _LIPS, _VOICE if heard else _FACE, _CODEC)
            notes += [f"in place of {part}: {STAND_INS[part]}" for part in parts]
        return "; ".join(notes)
