"""How tokens are drawn under the settings of a run: the sampler's preset with what is set in its place."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bench.systems.hicodit.options import manner_of
from bench.systems.hicodit.sampling import Sampler

if TYPE_CHECKING:
    from bench.api import Tier
    from bench.systems.hicodit.options import HiCoDiTOptions

_OF_SAMPLER = ("steps", "high_steps", "temperature", "kappa", "frames_per_batch")
_OF_GUIDANCE = ("w_all", "w_lip", "w_id", "w_emo")


def sampler_of(options: HiCoDiTOptions, tier: Tier) -> Sampler:
    """The preset of ``options``, else of ``tier``, changed by the settings that have a value."""
    preset = Sampler.preset(manner_of(options, tier).sampler, options.scales)
    guidance = replace(preset.guidance, **_set(options, _OF_GUIDANCE))
    return replace(preset, guidance=guidance, **_set(options, _OF_SAMPLER))


def _set(options: HiCoDiTOptions, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(options, name)) is not None}
