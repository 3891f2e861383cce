"""A stack of blocks whose modulations are computed for many steps of a sampler at once, ahead of their use."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from bench.systems.hicodit.blocks import MODULATIONS, blocks_of
from bench.systems.hicodit.model import Final

#: Numbers of modulations that are held at a time (64 MB); those of later steps are computed when their turn comes.
_HELD = 16_000_000


@dataclass(frozen=True)
class EmotionTimes:
    """What the temporal factors of a stage depend on.

    Attributes:
        table: a vector for each emotion class ``(classes, C)``.
        late: time features of the high levels ``(N, C)``.
        classes: emotion class of each codec frame ``(R, L)`` int64.
    """

    table: Tensor
    late: Tensor
    classes: Tensor


class StackCache:
    """A stack with what conditions and times decide.

    Args:
        blocks: the stack.
        final: what comes before its heads.
        vectors: the different conditions ``(U, C)``.
        rows: which of them each row of the batch has, ``(R,)`` int64.
        times: time features ``(N, C)`` of the turns.
        emotion: for a stack with temporal factors.
    """

    def __init__(
        self,
        blocks: nn.ModuleList,
        final: Final,
        vectors: Tensor,
        rows: Tensor,
        times: Tensor,
        emotion: EmotionTimes | None = None,
    ) -> None:
        self._blocks = blocks_of(blocks)
        self._final, self._vectors, self._rows, self._times, self._emotion = final, vectors, rows, times, emotion
        self._chunk = max(1, _HELD // (vectors.numel() * (MODULATIONS * len(self._blocks) + 2)))
        self._first = -1

    def run(self, turn: int, h: Tensor, keys: Tensor | None, frames: Tensor | None = None) -> Tensor:
        """The stack's output ``(R, L, C)``; with ``frames`` ``(R, Q)`` at these alone, ``(R, Q, C)``.

        Args:
            turn: which of the times.
            h: input ``(R, L, C)``.
            keys: mask of padding ``(R, 1, 1, L)``, or None.
            frames: wanted frames of each row. The last block computes keys and values of all frames, no more.
        """
        place = self._placed(turn)
        last = len(self._blocks) - 1
        for number, block in enumerate(self._blocks):
            modulation = self._modulations[number][place][self._rows]
            h = block(h, modulation, self._frame_factors(number, place), keys, frames if number == last else None)
        return h

    def normed(self, turn: int, h: Tensor) -> Tensor:
        """The input ``(R, Q, C)`` of the heads from the stack's output."""
        place = self._placed(turn)
        out: Tensor = self._final(h, self._finals[place][self._rows])
        return out

    def _placed(self, turn: int) -> int:
        """Where a turn lies in what is held; makes it be held."""
        place = turn % self._chunk
        if turn - place != self._first:
            self._first = turn - place
            self._compute(slice(self._first, self._first + self._chunk))
        return place

    def _compute(self, part: slice) -> None:
        """Modulations of some turns: ``(n, U, 6, C)`` of each block, ``(n, U, 2, C)`` of the final."""
        g = F.silu(self._times[part, None] + self._vectors)
        self._modulations = [block.modulation(g) for block in self._blocks]
        self._finals = self._final.modulation(g)
        if self._emotion is not None:
            q = self._emotion.late[part, None] + self._emotion.table
            self._factors = [block.factors(q) for block in self._blocks]

    def _frame_factors(self, number: int, place: int) -> Tensor | None:
        """Temporal factors ``(R, L, 2)`` of a block."""
        if self._emotion is None:
            return None
        factors = self._factors[number]
        return None if factors is None else factors[place][self._emotion.classes]
