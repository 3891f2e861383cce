"""What joint training reads of a clip: speech latents, motion codes, voice and text, made once and kept on disk.

The joint stage asks for one clip at a time (``LATENTS.of``); ``bench data prepare talker`` makes all of a split in
advance (:mod:`bench.shards`). Facts: specs/talker.md, 9.1, 9.2, 14.3.

    makers = latent_makers("tiny", "cpu")                   # of makers.py: which networks
    kept = LATENTS.of(clip, folder, makers)                 # Latents
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors import safe_open

from bench.records import Clip
from bench.shards import RecordKind, arrays_of, clip_key, write_arrays

if TYPE_CHECKING:
    from numpy.typing import NDArray

_VERSION = 2  # of what is kept: a change makes new files
_FACTS = "facts"  # the metadata key of a file: JSON, by clip
_ARRAYS = ("speech", "motion", "voice")


@dataclass(frozen=True, slots=True)
class Latents:
    """A clip at 25 Hz; L and T are about equal, and neither need be a multiple of the patch size.

    ``speech`` ``(L, 32)`` float32, what the audio VAE's ``encode`` gives. ``motion`` ``(T, C)`` float32, RAW motion
    codes: whoever trains normalises them by the motion statistics (7.6). ``voice`` ``(G,)`` float32, the speaker
    condition of the clip itself. ``text``: the transcript, "" where there is none. ``span``: first frame of the speech,
    and the one after its last; the whole clip where it is not known. Nothing is cut: trimming is the reader's.
    """

    speech: NDArray[np.float32]
    motion: NDArray[np.float32]
    voice: NDArray[np.float32]
    text: str
    span: tuple[int, int]

    @property
    def frames(self) -> int:
        """Frames that both streams have."""
        return min(len(self.speech), len(self.motion))


class _LatentRecords(RecordKind[Latents]):
    """Motion and speech are kept as 16-bit floats, which is what comes back the first time too.

    An array ``<key>.<part>`` for each; texts and spans are facts of the file.
    """

    name = "latents"

    def key(self, clip: Clip) -> str:
        """See :meth:`RecordKind.key`."""
        return clip_key(clip, _VERSION)

    def rounded(self, record: Latents) -> Latents:
        """See :meth:`RecordKind.rounded`."""
        half = [part.astype(np.float16).astype(np.float32) for part in (record.speech, record.motion)]
        return Latents(half[0], half[1], record.voice.astype(np.float32), record.text, record.span)

    def write(self, path: Path, records: Mapping[str, Latents]) -> None:
        """See :meth:`RecordKind.write`."""
        arrays: dict[str, NDArray[np.generic]] = {}
        for key, one in records.items():
            arrays[f"{key}.speech"] = one.speech.astype(np.float16)
            arrays[f"{key}.motion"] = one.motion.astype(np.float16)
            arrays[f"{key}.voice"] = one.voice.astype(np.float32)
        facts = {key: [one.text, *one.span] for key, one in records.items()}
        write_arrays(path, arrays, {_FACTS: json.dumps(facts)})

    def read(self, path: Path, key: str) -> Latents:
        """See :meth:`RecordKind.read`."""
        text, first, after = _facts(path)[key]
        parts = [np.asarray(part, np.float32) for part in arrays_of(path, [f"{key}.{name}" for name in _ARRAYS])]
        return Latents(parts[0], parts[1], parts[2], str(text), (int(first), int(after)))

    def keys(self, path: Path) -> Iterable[str]:
        """See :meth:`RecordKind.keys`."""
        return _facts(path)


def _facts(path: Path) -> dict[str, tuple[str, int, int]]:
    """Text and span by key."""
    with safe_open(path, framework="np") as file:
        found: dict[str, tuple[str, int, int]] = json.loads(file.metadata()[_FACTS])
        return found


LATENTS = _LatentRecords()
