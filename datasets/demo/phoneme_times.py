"""Which phoneme is spoken when: frame labels from espeak's events, which the demo corpus keeps beside each clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.api import Clip, DataError, UsageError

SILENCE = "sil"
#: espeak's phonemes of American English in the sentences of the GRID grammar, without stress.
PHONEMES = (
    SILENCE,
    *("@", "A@", "D", "E", "I", "T", "V", "a", "aI", "aU", "b", "d", "dZ", "eI", "f", "g"),
    *("i:", "i@", "j", "k", "l", "m", "n", "o@", "oU", "p", "r", "s", "t", "tS", "u:", "v", "w", "z"),
)
_ALIKE = {"r-": "r", "t#": "t", "a#": "@"}  # variants that espeak writes apart
_NO_PHONEME = ("_", ";")  # pauses, palatalisation: how their names begin
_CLASSES = {name: index for index, name in enumerate(PHONEMES)}


@dataclass(frozen=True, slots=True)
class PhonemeTimes:
    """``classes`` (P,) indices into :data:`PHONEMES`; ``starts`` and ``ends`` (P,) in seconds from the clip's start."""

    classes: NDArray[np.int64]
    starts: NDArray[np.float64]
    ends: NDArray[np.float64]

    def at(self, seconds: NDArray[np.float64]) -> NDArray[np.int64]:
        """The class at each of the times; silence before the first phoneme and between sentences."""
        index = np.searchsorted(self.starts, seconds, side="right") - 1
        spoken = (index >= 0) & (seconds < self.ends[index])
        return np.where(spoken, self.classes[index], 0)


def class_of(name: str) -> int:
    """The index of espeak's phoneme ``name`` in :data:`PHONEMES`.

    Raises:
        DataError: a phoneme that the corpus' sentences do not have.
    """
    bare = name.replace("'", "")
    if bare.startswith(_NO_PHONEME):
        return 0
    found = _CLASSES.get(_ALIKE.get(bare, bare))
    if found is None:
        raise DataError(f"espeak's phoneme {name!r} is not among those of the demo corpus", "make the corpus anew.")
    return found


def sidecar(clip: Clip) -> Path | None:
    """Where a clip of the demo corpus has its truth; ``None``: nowhere."""
    path = clip.video.path.with_suffix(".npz") if clip.video is not None else None
    return path if path is not None and path.is_file() else None


def demand_times(clips: Sequence[Clip]) -> None:
    """Nothing where every clip has its phonemes' times.

    Raises:
        UsageError: the data set has none.
    """
    without = [clip.id for clip in clips if sidecar(clip) is None]
    if without:
        raise UsageError(
            f"the stage features learns when which phoneme is spoken; {len(without)} clips do not say so, "
            f"as {without[0]}",
            "it learns on the demo corpus alone (--dataset demo), whose speech espeak has made.",
        )


def phoneme_times(clip: Clip) -> PhonemeTimes:
    """The times beside a clip.

    Raises:
        UsageError: there are none.
        DataError: the file is damaged.
    """
    demand_times([clip])
    path = sidecar(clip)
    try:
        with np.load(str(path), allow_pickle=False) as arrays:
            names, times = arrays["phonemes"].tolist(), np.asarray(arrays["phoneme_times"], np.float64)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} cannot be read: {error}", "`bench data make demo` makes it again.") from error
    return PhonemeTimes(np.array([class_of(name) for name in names], np.int64), times[:, 0], times[:, 1])
