"""What a system's training is asked for: which configuration, on which clips, with which settings.

A system names its stages in :meth:`bench.api.System.stages`; the function behind a name takes a
:class:`TrainRequest` and returns a :class:`bench.train.Stage`. Importing this module loads nothing heavy.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bench.errors import UsageError, did_you_mean
from bench.progress import Progress
from bench.records import Clip

if TYPE_CHECKING:
    from pydantic import BaseModel

CONFIGS = ("full", "tiny")
_Options = TypeVar("_Options", bound="BaseModel")


@dataclass(frozen=True)
class TrainRequest:
    """One training of one stage.

    ``config``: one of :data:`CONFIGS`. ``clips`` to learn from and ``held_out`` ones to judge by (there may be none).
    ``folder`` is for what is computed once per clip, and may be shared by trainings. ``data`` names the clips'
    content: data set, split and the hash of its index. ``progress`` reports long preparations.
    """

    config: str
    clips: Sequence[Clip]
    folder: Path
    data: str
    seed: int = 0
    device: str = "cpu"
    settings: Mapping[str, Any] = field(default_factory=dict)
    held_out: Sequence[Clip] = ()
    progress: Progress = field(default_factory=lambda: Progress(quiet=True), compare=False)

    def identity(self) -> dict[str, Any]:
        """What a stage puts into its ``describe()``: configuration, data and the clips of it that were chosen."""
        ids = [[clip.id for clip in group] for group in (self.clips, self.held_out)]
        digest = hashlib.sha256(json.dumps(ids).encode()).hexdigest()
        return {"config": self.config, "data": self.data, "clips": digest[:16]}

    def options(self, model: type[_Options]) -> _Options:
        """The settings as a pydantic model.

        Raises:
            UsageError: unknown settings, values out of range; all of them at once.
        """
        from pydantic import ValidationError

        known = list(model.model_fields)
        problems = [f"--set {key}: unknown. {did_you_mean(key, known)}" for key in self.settings if key not in known]
        try:
            made = model(**{key: value for key, value in self.settings.items() if key in known})
        except ValidationError as error:
            problems += [
                f"--set {'.'.join(str(part) for part in e['loc'])} = {e.get('input')!r}: {e['msg']}"
                for e in error.errors()
            ]
        if problems:
            raise UsageError("\n  ".join(problems), f"settings of this stage: {', '.join(known)}.")
        return made
