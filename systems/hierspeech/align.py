"""Monotonic alignment search: the most likely way to spread the tokens over the frames.

Glow-TTS (Kim et al. 2020, arXiv 2005.11129, section 3.1), by dynamic programming in numpy over all items and
tokens at once, one step per frame. Arithmetic and ties are those of ``sh-lee-prml/HierSpeechpp:
monotonic_align/core.pyx``.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_IMPOSSIBLE = np.float32(-1e9)


def monotonic_tokens(
    value: NDArray[np.float32], frames: NDArray[np.integer], tokens: NDArray[np.integer]
) -> NDArray[np.int64]:
    """The token of each frame on the path of greatest total value.

    The path begins at the first token, ends at the last one, and from frame to frame either stays or goes on
    by one; of two equal ways it takes the one that stays.

    Args:
        value: ``(B, T, Tx)``: what frame t gains by belonging to token x.
        frames: real frames of each item, ``(B,)``.
        tokens: real tokens of each item, ``(B,)``, 1 to the item's frames.

    Returns:
        ``(B, T)``, 0 behind an item's last frame.

    Raises:
        ValueError: an item has no token, or fewer frames than tokens.
    """
    if np.any(tokens < 1) or np.any(frames < tokens):
        raise ValueError("an alignment needs a token, and at least as many frames as tokens, in every item")
    went_on = _forward(np.ascontiguousarray(value.transpose(1, 0, 2), dtype=np.float32))
    count, items = value.shape[1], np.arange(value.shape[0])
    path = np.zeros((value.shape[0], count), dtype=np.int64)
    token = tokens.astype(np.int64) - 1
    for y in range(count - 1, -1, -1):
        real = y < frames
        path[:, y] = np.where(real, token, 0)
        token = token - (real & went_on[y, items, token])
    return path


def _forward(value: NDArray[np.float32]) -> NDArray[np.bool_]:
    """``(T, B, Tx)``: whether the best path to token x at frame t comes from the token before."""
    count, items, width = value.shape
    went_on = np.zeros((count, items, width), dtype=bool)
    # column 0 stands before the first token: only the first frame may come from there
    best = np.full((items, width + 1), _IMPOSSIBLE, dtype=np.float32)
    best[:, 0] = 0
    for y in range(count):
        stay, go_on = best[:, 1:], best[:, :-1]
        went_on[y] = stay < go_on
        went_on[y, :, 0] = False
        if 0 < y < width:
            went_on[y, :, y] = True  # no other way leads to token y at frame y
        best[:, 1:] = value[y] + np.maximum(stay, go_on)
        best[:, 0] = _IMPOSSIBLE
        best[:, y + 2 :] = _IMPOSSIBLE  # not reached yet
    return went_on


def log_likelihoods(z: Tensor, m: Tensor, logs: Tensor) -> Tensor:
    """Log density of every frame under every token's Gaussian: ``(B, T, Tx)``.

    Args:
        z: latent frames ``(B, C, T)``.
        m: the tokens' means ``(B, C, Tx)``.
        logs: the logarithms of their standard deviations ``(B, C, Tx)``.
    """
    precision = torch.exp(-2 * logs)
    constant = (-0.5 * math.log(2 * math.pi) - logs).sum(1, keepdim=True)  # (B, 1, Tx)
    squares = (-0.5 * z**2).transpose(1, 2) @ precision  # (B, T, Tx)
    products = z.transpose(1, 2) @ (m * precision)
    return constant + squares + products + (-0.5 * m**2 * precision).sum(1, keepdim=True)


def align(z: Tensor, m: Tensor, logs: Tensor, frames: Tensor, tokens: Tensor) -> Tensor:
    """The token of each frame, ``(B, T)``, by :func:`monotonic_tokens` of :func:`log_likelihoods`; no gradient.

    Args:
        z: see :func:`log_likelihoods`.
        m: see there.
        logs: see there.
        frames: real frames ``(B,)``.
        tokens: real tokens ``(B,)``.
    """
    with torch.no_grad():
        value = log_likelihoods(z, m, logs).float().cpu().numpy()
    path = monotonic_tokens(value, frames.cpu().numpy(), tokens.cpu().numpy())
    return torch.from_numpy(path).to(z.device)
