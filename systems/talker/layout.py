"""Frames, patches and slots: how two streams of frames lie in the backbone's sequence.

A *patch* is ``patch_size`` frames of one stream; a *slot* is one position of the sequence behind the text. Slot k
carries patch k of speech and patch k - delay of motion, and the state before a slot predicts what is in it. Missing
frames are zeros behind the projection (in tokens) and zeros before it (in targets and histories).

``zhenye234/Talker-T2AV: speech_llm.py, infer.py``; nothing here has parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

STOP_IGNORED_SECONDS = 0.3


def patches_in(frames: int, patch_size: int) -> int:
    """How many patches hold ``frames`` frames, the last one perhaps in part."""
    return -(-frames // patch_size)


@dataclass(frozen=True, slots=True)
class Accounting:
    """What the official script counts for one reference, in patches and frames.

    Attributes:
        motion_len: frames of motion that are used, a multiple of the patch size.
        n_speech_patches, n_motion_patches: of the reference.
        placeholders: slots in the text given to the tokenizer.
        total_patches: slots of the reference.
        prefix_frames, prefix_patches: of motion that is known.
        prefix_total_patches: slots that are known.
        max_new_patches: how many slots are generated at most.
    """

    motion_len: int
    n_speech_patches: int
    n_motion_patches: int
    placeholders: int
    total_patches: int
    prefix_frames: int
    prefix_patches: int
    prefix_total_patches: int
    max_new_patches: int


def account(
    speech_len: int,
    motion_rows: int,
    prefix_seconds: float,
    *,
    patch_size: int,
    delay: int,
    fps: float = 25,
    max_frames: int = 750,
    margin: int = 15,
    placeholder_delay: int = 5,
) -> Accounting:
    """Count for a reference of ``speech_len`` frames of speech and ``motion_rows`` of motion.

    Args:
        prefix_seconds: how much of the reference the sequence begins with.
        margin: slots beyond the reference's.
        placeholder_delay: the script's own constant; it asks for more placeholders than there are slots.
    """
    motion_len = max(patch_size, min(motion_rows, max_frames) // patch_size * patch_size)
    n_speech, n_motion = patches_in(speech_len, patch_size), motion_len // patch_size
    total = max(n_speech, n_motion + delay)
    frames = min(max(0, int(prefix_seconds * fps)), motion_len) // patch_size * patch_size
    known = min(frames // patch_size + delay, total)
    return Accounting(
        motion_len=motion_len,
        n_speech_patches=n_speech,
        n_motion_patches=n_motion,
        placeholders=max(n_speech, n_motion + placeholder_delay),
        total_patches=total,
        prefix_frames=frames,
        prefix_patches=frames // patch_size,
        prefix_total_patches=known,
        max_new_patches=total - known + margin,
    )


def patched(frames: Tensor, patch_size: int) -> Tensor:
    """``frames`` (B, L, C) as (B, ceil(L / patch_size), patch_size, C), zeros behind the last frame."""
    batch, length, channels = frames.shape
    count = patches_in(length, patch_size)
    whole = F.pad(frames, (0, 0, 0, count * patch_size - length))
    return whole.reshape(batch, count, patch_size, channels)


def last_frames(frames: Tensor, count: int) -> Tensor:
    """The last ``count`` rows of ``frames`` (L, C) as columns (C, count), zeros before the first."""
    kept = frames[max(0, len(frames) - count) :]
    return F.pad(kept, (0, 0, count - len(kept), 0)).T


@dataclass(frozen=True, slots=True)
class Places:
    """Which state predicts which patch, (R,) each: item of the batch, patch, position of the state."""

    item: Tensor
    patch: Tensor
    position: Tensor


def predictions(patches: Tensor, starts: Tensor, length: int, delay: int) -> Places:
    """All pairs of a batch, item after item, patch after patch.

    Args:
        patches: (B,) how many patches each item has; items of one patch are left out, as are those of none.
        starts: (B,) position of slot 0; nothing can predict the first patch of an item that begins there.
        length: of the sequences.
        delay: of the stream in slots.
    """
    number = torch.arange(int(patches.max()) if len(patches) else 0, device=patches.device)
    behind = starts[:, None] + delay + number - 1  # (B, N)
    there = (number < patches[:, None]) & (patches > 1)[:, None] & (behind < length)
    there &= (number > 0) | (starts > 0)[:, None]
    item, patch = there.nonzero(as_tuple=True)
    return Places(item, patch, behind[item, patch])


def patches_and_histories(frames: Tensor, lengths: Tensor, places: Places, size: int, context: int) -> list[Tensor]:
    """Targets (R, C, size) and what lies before them (R, C, size · context), of ``frames`` (B, L, C).

    Frames from ``lengths`` (B,) on count as zeros, and so do those before the first.
    """
    inside = torch.arange(frames.shape[1], device=frames.device) < lengths[:, None]
    tidy = F.pad(frames * inside[..., None], (0, 0, context * size, size))  # (B, …, C)
    begin = places.patch[:, None] * size
    before = begin + torch.arange(size * context, device=frames.device)
    own = begin + size * context + torch.arange(size, device=frames.device)
    item = places.item[:, None]
    return [tidy[item, own].transpose(1, 2), tidy[item, before].transpose(1, 2)]


def slots_taken(speech: Tensor, motion: Tensor, slots: Tensor, size: int, delay: int) -> Tensor:
    """Slots that an item fills, of frames ``speech`` and ``motion``, where there is room for ``slots``; all (B,)."""
    of_speech, of_motion = -(-speech // size), -(-motion // size)
    needed = torch.where(motion > 0, torch.maximum(of_speech, of_motion + delay), of_speech)
    return torch.minimum(needed, slots)
