"""What each task of ``talker`` needs: weight files by tier, packages, and settings that can be used."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.api import Task, Tier, WeightFile
from bench.errors import BenchError, NotHereError
from bench.metrics.declare import need_modules
from bench.systems.talker import weight_files as files
from bench.trained import no_such_files

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.systems.talker.options import TalkerOptions

TASKS: tuple[Task, ...] = ("t2av", "tts", "a2v", "vts", "dub")
#: Tasks that make speech in a reference's voice, that make a face, that are told what to say, that follow a video.
SPEAKS: frozenset[Task] = frozenset({"t2av", "tts", "vts", "dub"})
SHOWS: frozenset[Task] = frozenset({"t2av", "a2v"})
TOLD: frozenset[Task] = frozenset({"t2av", "tts", "dub"})
FOLLOWS: frozenset[Task] = frozenset({"vts", "dub"})
#: Tasks whose result may begin with a part of the reference.
BEGINS: frozenset[Task] = frozenset({"t2av", "tts"})

_TEXT, _VAE, _VOICE, _FACE, _SIZE = (
    "the Qwen tokenizer and its chat",
    "the audio VAE WhisperX-VAE",
    "the speaker encoder WavLM-Large with ECAPA-TDNN",
    "LIA-X at 512 px",
    "the backbone Qwen3-0.6B",
)
STAND_INS: Mapping[str, str] = {
    _SIZE: "the same classes, 4 layers of width 160, trained on the demo corpus",
    _TEXT: "a table of letters",
    _VAE: "a VAE of log-mel frames at 16 kHz, inverted by Griffin-Lim",
    _VOICE: "64 random projections of the mean spectrum and its spread",
    _FACE: "the same classes at 128 px, pasted into the first frame",
}


@dataclass(frozen=True)
class Needs:
    """What the tasks need in ``tier`` under ``options``. ``looked_for``: weight files must be on this machine."""

    options: TalkerOptions
    tier: Tier
    looked_for: bool = True

    def check(self) -> None:
        """Settings that the tier cannot do.

        Raises:
            NotHereError: with the reason.
        """
        own = [name for name in ("vae", "motion", "joint") if getattr(self.options, name)]
        if own and self.tier != "embedded":
            raise NotHereError(
                f"{', '.join(own)}: weights of your own training are for tier embedded", "add --set tier=embedded."
            )

        if self.options.follow == "mouth" and self.tier != "embedded":
            raise NotHereError("follow=mouth: LIA-X does not say when a mouth moves", "leave it at whole.")

    def files(self, task: Task) -> tuple[WeightFile, ...]:
        """The weight files of ``task``."""
        if self.tier == "embedded":
            pairs = (
                (self.options.joint, files.TINY_LLM),
                (self.options.vae, files.TINY_VAE),
                (self.options.motion, files.TINY_MOTION),
            )
            return tuple(weight for given, weight in pairs if not given)
        found = [files.SPEECH_LLM, files.TOKENIZER, files.VAE]
        found += [files.LIA_X] if task != "tts" else []
        found += [files.SPEAKER] if task in SPEAKS else []
        return tuple(found)

    def missing(self, task: Task) -> list[str]:
        """What keeps ``task`` from running, one line each with its remedy."""
        from bench import weights

        lines = weights.missing(self.files(task)) if self.looked_for else []
        lines += no_such_files({name: getattr(self.options, name) for name in ("vae", "motion", "joint")})
        lines += need_modules("tokenizers", extra="talker") if self.tier != "embedded" else []
        if self.face_view and task != "tts":
            lines += need_modules("dlib")
        return [*lines, *self._motion_file(task)]

    @property
    def face_view(self) -> bool:
        """Whether a square around the face is looked at, not the whole picture."""
        return self.options.view == "face" or (self.options.view == "auto" and self.tier == "embedded")

    @property
    def follows_mouth(self) -> bool:
        """Whether speech follows the part of a video in which the mouth moves."""
        return self.options.follow == "mouth" or (self.options.follow == "auto" and self.tier == "embedded")

    def _motion_file(self, task: Task) -> list[str]:
        path = self.options.motion_file
        if path is None or task not in SHOWS:
            return []
        from bench.systems.talker.motion_file import read_motion

        try:
            read_motion(Path(path), 16 if self.tier == "embedded" else 40)
        except BenchError as error:
            return [f"motion_file: {error.message}"]
        return []

    def note(self, task: Task) -> str:
        """What stands in for what in ``task``, and what was cut off, for the foot of a table."""
        notes = []
        if self.tier == "embedded":
            parts = [_SIZE, *([_TEXT] if task in TOLD else []), _VAE, *([_VOICE] if task in SPEAKS else [])]
            parts += [_FACE] if task != "tts" else []
            notes = [f"in place of {part}: {STAND_INS[part]}" for part in parts]
        if task in BEGINS:
            notes.append(self._prefix_note())
        return "; ".join(notes)

    def _prefix_note(self) -> str:
        from bench.systems.talker.options import manner_of

        seconds = manner_of(self.options, self.tier).prefix_seconds
        if seconds == 0:
            return "nothing begins with a prefix of the reference"
        if self.options.keep_prefix:
            return f"the first {seconds:g} s are the reference's prefix"
        return f"begins with {seconds:g} s of the reference, which are cut off before scoring"
