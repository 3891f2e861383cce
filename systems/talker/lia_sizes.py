"""Sizes of a LIA-X generator."""

from __future__ import annotations

from dataclasses import dataclass, replace

_SMALLEST = 8  # pixels of the first stage's map


@dataclass(frozen=True)
class LiaSizes:
    """The defaults are the published network's (910.6 million parameters; manifest ``talker_lia_x_generator.json``).

    ``size``: height and width of a picture, a power of two. ``widths``: channels of each stage's maps, from 8 x 8 up
    to ``size``. ``blocks``: flow blocks and rgb blocks in each stage. ``groups``: of the normalisation.
    """

    size: int = 512
    widths: tuple[int, ...] = (1024, 1024, 1024, 1024, 512, 256, 128)
    style_dim: int = 1024
    motion_dim: int = 40
    blocks: int = 4
    groups: int = 32

    def __post_init__(self) -> None:
        if self.size < _SMALLEST or self.size & (self.size - 1):
            raise ValueError(f"size {self.size} is no power of two from {_SMALLEST} on")
        if len(self.widths) != self.stages:
            raise ValueError(f"size {self.size} has {self.stages} stages, {len(self.widths)} widths are given")
        if any(width % self.groups for width in self.widths):
            raise ValueError(f"the widths {self.widths} cannot be divided into {self.groups} groups")

    @property
    def stages(self) -> int:
        """Sizes that the picture goes through: 8, 16, … ``size``."""
        return self.size.bit_length() - 3

    def grown(self, width: int) -> LiaSizes:
        """Twice the size, the new last stage with ``width`` channels."""
        return replace(self, size=2 * self.size, widths=(*self.widths, width))


def scaled(scale: float, motion_dim: int = 40) -> LiaSizes:
    """The published network's layout with all widths times ``scale`` / 2, the source's own parameter."""
    wide, *rest = (int(width * scale) for width in (512, 256, 128, 64))
    return LiaSizes(widths=(wide,) * 4 + tuple(rest), style_dim=int(512 * scale), motion_dim=motion_dim)


#: The published network.
FULL = LiaSizes()
#: Trained first, and enough for tests (566 996 parameters).
TINY64 = LiaSizes(size=64, widths=(48, 48, 32, 16), style_dim=64, motion_dim=16, blocks=1, groups=16)
#: What TINY64 grows to (590 125 parameters).
TINY = TINY64.grown(16)
