"""Where the two streams of a stimulus lie: what a system made is in the store, what it was given in the data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bench import pairs
from bench.api import MADE, Clip, DataError, Source, UsageError
from bench.planning import list_clips, open_dataset
from bench.progress import Progress
from bench.store import Store
from bench.store_records import OutputRecord, RunRecord

_NEED_DATA = frozenset({"vts", "dub", "a2v"})  # the other tasks get no stream of the clip


class Streams(NamedTuple):
    """Picture (``None`` for speech alone) and sound."""

    video: Source | None
    audio: Source


@dataclass(frozen=True)
class Given:
    """The streams of the data set that the runs' systems were given: by clip id."""

    video: Mapping[str, Source | None]
    audio: Mapping[str, Source | None]
    licence: str = ""  # of recordings that end up in the folder and may not be given to others


def given(store: Store, run: RunRecord, clips: Sequence[str], data_root: Path | None, progress: Progress) -> Given:
    """The given streams of ``clips`` under the condition of ``run``.

    Raises:
        UsageError: the data set is not there; driving audio that cannot be found again.
        DataError: the data set has other contents than when the run was made.
    """
    if run.task not in _NEED_DATA:
        return Given({}, {})
    root = data_root or _configured_root(run)
    dataset = open_dataset(run.dataset, root)
    listed, sha = list_clips(dataset, run.split, progress)
    if run.dataset_sha256 and sha != run.dataset_sha256:
        raise DataError(
            f"{run.dataset}/{run.split} has changed since run {run.id[:12]} was made",
            "give the --data-root of then, or run the systems again.",
        )
    by_id = {clip.id: clip for clip in listed}
    licence = "" if dataset.redistributable else dataset.licence
    drivers = _drivers(run, by_id)
    return Given({c: by_id[c].video for c in clips}, {c: drivers[c].audio for c in clips}, licence)


def _configured_root(run: RunRecord) -> Path | None:
    """The ``--data-root`` under which the run was made."""
    said = run.config.get("data_root", {}).get("value")
    return Path(said) if said else None


def _drivers(run: RunRecord, by_id: Mapping[str, Clip]) -> Mapping[str, Clip]:
    """The clip that each clip's sound comes from."""
    if run.task != "a2v" or (run.pairing == "matched" and run.audio == "real"):
        return by_id
    if run.pairing == "cross" and run.audio == "real":
        found = pairs.derangement(list(by_id.values()))
        return {video: by_id[audio] for video, audio in found.pairs}
    raise UsageError(
        f"run {run.id[:12]}: the driving audio of pairing {run.pairing}, audio {run.audio} cannot be found again",
        "a study takes talking heads that were driven by real audio, matched or cross.",
    )


def streams(store: Store, run: RunRecord, output: OutputRecord, found: Given) -> Streams:
    """What people see and hear of an output.

    Raises:
        DataError: the clip has no such stream, or the store's file is gone.
    """
    made = MADE[run.task]
    video = _made(store, output.video) if "video" in made else found.video.get(output.clip_id)
    audio = _made(store, output.audio) if "audio" in made else found.audio.get(output.clip_id)
    if audio is None or (video is None and run.task != "tts"):
        missing = "sound" if audio is None else "picture"
        raise DataError(f"{run.system}, clip {output.clip_id}: there is no {missing}", "choose other runs or clips.")
    return Streams(video, audio)


def _made(store: Store, relative: str | None) -> Source | None:
    if relative is None:
        return None
    path = store.root / relative
    if not path.is_file():
        raise DataError(f"{path}: the store's file is gone", "`bench generate --force` makes it again.")
    return Source(path)
