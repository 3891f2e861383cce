"""The clips of the data sets behind a report: what systems are held against, and whether it may be shown.

Media of some data sets must not be given to others (LRS2, LRS3, films). Such a data set says so itself; of one that is
not installed nobody knows, so it counts as one of them. Outputs of controls are made of the same recordings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench import pairs, registry
from bench.api import BenchError, Clip
from bench.contracts import Dataset
from bench.planning import open_dataset
from bench.results.table import Group


@dataclass(frozen=True)
class References:
    """Clips by id, and in one sentence why their media are not shown (empty: they are).

    ``drivers``: by id of a clip, the clip whose sound drove its talking head, where the group says it.
    ``shareable``: whether recordings of the data set may be given to others.
    """

    clips: Mapping[str, Clip] = field(default_factory=dict)
    drivers: Mapping[str, Clip] = field(default_factory=dict)
    absent: str = ""
    shareable: bool = False
    licence: str = ""


def references(group: Group, data_root: Path | None) -> References:
    """The clips behind a section; ``data_root`` as for ``bench run``."""
    name = group.dataset
    try:
        cls: type[Dataset] = registry.get("datasets", name)
    except BenchError:
        return References(absent=f"The data set {name} is not installed here: nothing says what may be shown of it.")
    if not cls.redistributable:
        told = (
            f"Recordings of {name} may not be given to others ({cls.licence}). Whoever has them finds each by its id."
        )
        return References(absent=told, licence=cls.licence)
    try:
        clips = open_dataset(name, data_root).clips(group.split)
    except BenchError as error:
        first = error.message.splitlines()[0]
        return References(absent=f"The recordings were not found: {first}", shareable=True, licence=cls.licence)
    by_id = {clip.id: clip for clip in clips}
    return References(by_id, _drivers(group, by_id), "", True, cls.licence)


def _drivers(group: Group, clips: Mapping[str, Clip]) -> Mapping[str, Clip]:
    """Known for real sound of the same clips, and of the crossing that every machine computes alike."""
    if group.audio != "real":
        return {}
    if group.pairing == "cross" and len(clips) > 1:
        crossed = pairs.derangement(list(clips.values()))
        return {video: clips[audio] for video, audio in crossed.pairs}
    return clips if group.pairing == "matched" else {}
