"""The alias-free activation in one pass over the samples, for inference on the CPU.

The loops are in :mod:`bench.systems.hierspeech.alias_free_kernel`, which is imported, and compiled, at first use.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

#: Fewer samples than this are not worth another thread.
_WORTH_A_THREAD = 1 << 16


def serves(x: Tensor) -> bool:
    """Whether ``x`` can go this way: float32 on the CPU, no gradient wanted."""
    wants_gradient = torch.is_grad_enabled()
    return x.device.type == "cpu" and x.dtype == torch.float32 and not wants_gradient and x.dim() == 3


def activation(x: Tensor, frequency: Tensor, magnitude: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """``(B, C, L)`` float32 to the same shape: up by two, x + magnitude sin²(frequency x), down by two.

    ``frequency`` and ``magnitude`` are ``(C,)``; ``up`` and ``down`` the filters, 12 taps each.
    """
    batch, channels, length = x.shape
    from bench.systems.hierspeech.alias_free_kernel import activate_rows

    rows = x.detach().contiguous().view(batch * channels, length).numpy()
    result = torch.empty(batch, channels, length)
    if not result.numel():
        return result
    written = result.view(batch * channels, length).numpy()
    taps = (2 * up.flatten().numpy(), down.flatten().numpy(), frequency.numpy(), magnitude.numpy())
    _over_rows(lambda first, last: activate_rows(rows, written, first, last, *taps), len(rows), rows.size)
    return result


def _over_rows(work: Callable[[int, int], None], rows: int, samples: int) -> None:
    """Call ``work(first, last)`` over all rows, by as many threads as torch may use."""
    threads = max(1, min(torch.get_num_threads(), rows, samples // _WORTH_A_THREAD))
    if threads == 1:
        work(0, rows)
        return
    bounds = [rows * part // threads for part in range(threads + 1)]
    list(_pool(threads, os.getpid()).map(work, bounds[:-1], bounds[1:]))


@lru_cache(maxsize=1)
def _pool(threads: int, _process: int) -> ThreadPoolExecutor:
    """The threads of this process: those of a parent do not live on in a fork."""
    return ThreadPoolExecutor(threads, thread_name_prefix="alias-free")
