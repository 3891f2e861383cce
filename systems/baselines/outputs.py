"""Finished outputs of somebody else: a folder of media whose names say which clip they belong to."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api import MADE, TASKS, Clip, Control, Failure, Output, Reference, Request, Task, Tier, UsageError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from bench.systems.baselines.matching import Matching

AUDIO_TASKS: tuple[Task, ...] = ("vts", "dub", "tts")


class Outputs(Control):
    """Scores a folder: ``--system outputs:DIR`` or ``outputs:DIR=NAME``.

    Files are matched to clip ids by :func:`bench.systems.baselines.matching.match`. A task that
    makes speech takes the .wav or .flac of a clip, else the sound of its video. A folder without
    any video has the tasks of speech alone.
    """

    name = "outputs"
    version = "1"
    tasks: tuple[Task, ...] = TASKS
    tier: Tier = "external"
    local_settings = frozenset({"dir"})
    summary = "a folder of finished outputs of another system"
    licence = "as the outputs'"

    def __init__(self, settings: Mapping[str, Any] | None = None) -> None:
        super().__init__(settings)
        folder = str(self.settings.get("dir", ""))
        if not folder:
            raise UsageError("system 'outputs' needs a folder", "write outputs:DIR or outputs:DIR=NAME.")
        self.folder = Path(folder).expanduser()
        self._matching: Matching | None = None
        if not self.missing() and not self._has_video():
            self.tasks = AUDIO_TASKS

    @classmethod
    def options(cls) -> type[BaseModel]:
        """``dir`` and ``name``."""
        from bench.systems.baselines.options import OutputsOptions

        return OutputsOptions

    def missing(self) -> list[str]:
        """The folder where it is absent, no folder, or without media."""
        from bench.systems.baselines.matching import media_files

        if not self.folder.exists():
            return [f"the folder {self.folder} does not exist: check the path after outputs:"]
        if not self.folder.is_dir():
            return [f"{self.folder} is a file: name the folder that holds one file per clip"]
        if not media_files(self.folder):
            return [f"the folder {self.folder} has no .mp4, .wav or .flac: put one file per clip there"]
        return []

    def preflight(self, clip_ids: Sequence[str]) -> list[str]:
        """Which files and clips do not match, on both sides."""
        return list(self.matching(clip_ids).report())

    def fingerprint(self) -> str:
        """SHA-256 over the relative names and the hashes of all media files of the folder."""
        from bench import media
        from bench.systems.baselines.matching import media_files

        digest = hashlib.sha256()
        for name in media_files(self.folder):
            # surrogates stand for bytes of a name that is no UTF-8
            line = f"{name}\0{media.file_sha256(self.folder / name)}\n"
            digest.update(line.encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def matching(self, clip_ids: Sequence[str]) -> Matching:
        """Which file belongs to which of ``clip_ids``, and what is left over on both sides."""
        from bench.systems.baselines.matching import match

        return match(self.folder, clip_ids)

    def prepare(self, clips: Sequence[Clip]) -> None:
        """Match the folder to the clips of the split."""
        self._matching = self.matching([clip.id for clip in clips])

    def generate_from_truth(
        self, requests: Sequence[Request], truths: Sequence[Reference]
    ) -> Sequence[Output | Failure]:
        """The files of each clip, or ``missing_output``."""
        if self._matching is None:
            self._matching = self.matching([truth.clip_id for truth in truths])
        matching = self._matching
        return [_found(matching, request, truth) for request, truth in zip(requests, truths, strict=True)]

    def _has_video(self) -> bool:
        from bench.systems.baselines.matching import is_video, media_files

        return any(is_video(name) for name in media_files(self.folder))


def _found(matching: Matching, request: Request, truth: Reference) -> Output | Failure:
    clip_id = truth.clip_id
    if clip_id in matching.ambiguous:
        return Failure(
            "missing_output", f"several files could be this clip's: {', '.join(matching.ambiguous[clip_id])}"
        )
    files = matching.matched.get(clip_id)
    made = MADE[request.task]
    video = files.video if files else None
    audio = (files.audio or files.video) if files else None
    lacking = [name for name, path in (("video", video), ("audio", audio)) if name in made and path is None]
    if lacking:
        return Failure("missing_output", f"no {' and no '.join(lacking)} file of this clip in the folder")
    return Output(video=video if "video" in made else None, audio=audio if "audio" in made else None)
