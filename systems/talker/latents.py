"""What joint training reads of a clip: speech latents, motion codes, voice and text, made once and kept on disk.

The joint stage asks for one clip at a time (:func:`latents_of`); ``bench data prepare talker`` makes all of a split in
advance and writes them as shards (:mod:`.prepare`). Both find what the other has made. Facts: specs/talker.md, 9.1,
9.2, 14.3.

    makers = latent_makers("tiny", "cpu")                   # of makers.py: which networks
    kept = latents_of(clip, folder, makers)                 # Latents
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import astuple, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from bench.records import Clip

if TYPE_CHECKING:
    from numpy.typing import NDArray

_VERSION = 2  # of what is kept: a change makes new files
_FACTS = "facts"  # the metadata key of a file: JSON, by clip
PATTERN = "shard-*.safetensors"


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


class LatentMakers(Protocol):
    """The networks that turn a clip into :class:`Latents`; ``identity`` names their weights and settings."""

    @property
    def identity(self) -> str:
        """At most 40 letters and digits; equal where the latents are."""

    def make(self, clip: Clip) -> Latents:
        """The latents of ``clip``. Raises :class:`bench.api.Unscorable` where it has none."""


def latents_of(clip: Clip, folder: Path, makers: LatentMakers) -> Latents:
    """The clip's latents: from a shard or a file in ``folder``, else made now and written there as a file.

    ``folder`` may be shared by data sets, trainings and processes. Motion and speech are kept as 16-bit floats, which
    is what comes back the first time too.

    Raises:
        Unscorable: the clip cannot be decoded, or has no audio or video.
    """
    key, place = clip_key(clip), kept_in(folder, makers.identity)
    found = kept(place, key)
    if found is None:
        found = rounded(makers.make(clip))
        write(place / f"{key}.safetensors", {key: found})
    return found


def kept(place: Path, key: str) -> Latents | None:
    """What is kept for a clip in ``place``, or ``None``; a damaged file is as good as none."""
    for path in (_shards(place).get(key), place / f"{key}.safetensors"):
        if path is not None and path.is_file():
            try:
                return read(path, key)
            except (SafetensorError, OSError, KeyError, ValueError):
                continue
    return None


def kept_in(folder: Path, identity: str) -> Path:
    """The folder of the latents that networks of this identity make."""
    return folder / f"latents-{identity}"


def clip_key(clip: Clip) -> str:
    """The name of a clip's latents: equal where content and cut are."""
    parts = [astuple(source)[1:] if source is not None else None for source in (clip.audio, clip.video)]
    told = json.dumps([_VERSION, clip.content_sha256, parts])
    return hashlib.sha256(told.encode()).hexdigest()[:32]


def rounded(latents: Latents) -> Latents:
    """``latents`` as they come back from a file."""
    half = [part.astype(np.float16).astype(np.float32) for part in (latents.speech, latents.motion)]
    return Latents(half[0], half[1], latents.voice.astype(np.float32), latents.text, latents.span)


def write(path: Path, clips: dict[str, Latents]) -> None:
    """The file appears when it is whole; several processes may write the same one."""
    tensors: dict[str, NDArray[np.generic]] = {}
    facts: dict[str, object] = {}
    for key, latents in clips.items():
        # safetensors writes the memory as it lies, so rows must lie one behind the other
        tensors[f"{key}.speech"] = latents.speech.astype(np.float16, order="C")
        tensors[f"{key}.motion"] = latents.motion.astype(np.float16, order="C")
        tensors[f"{key}.voice"] = latents.voice.astype(np.float32, order="C")
        facts[key] = [latents.text, *latents.span]
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        save_file(tensors, part, metadata={_FACTS: json.dumps(facts)})
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read(path: Path, key: str) -> Latents:
    """One clip's latents of a file. Raises ``KeyError``, ``OSError``, ``ValueError`` or ``SafetensorError``."""
    with safe_open(path, framework="np") as file:
        text, first, after = json.loads(file.metadata()[_FACTS])[key]
        parts = [np.asarray(file.get_tensor(f"{key}.{name}"), np.float32) for name in ("speech", "motion", "voice")]
    return Latents(parts[0], parts[1], parts[2], str(text), (int(first), int(after)))


def forget_shards() -> None:
    """To be called when shards were written: which clips they hold is read once per folder."""
    _shards.cache_clear()


@lru_cache(maxsize=16)
def _shards(place: Path) -> dict[str, Path]:
    """Keys of clips to the shards that hold them; damaged shards are left out."""
    found: dict[str, Path] = {}
    for path in sorted(place.glob(PATTERN)):
        try:
            with safe_open(path, framework="np") as file:
                found.update(dict.fromkeys(json.loads(file.metadata()[_FACTS]), path))
        except (SafetensorError, OSError, KeyError, ValueError, TypeError):
            continue
    return found
