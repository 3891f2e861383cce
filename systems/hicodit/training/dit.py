"""Training of the diffusion model, with the small lip front end where there is one (stage ``dit``).

The network hears the true voice's vector and follows the lips; the face adapter learns beside it to name the voice, on
an optimiser of its own, so that the weight 100 of its loss cannot shrink the other updates (hicodit.md C.4, E.5).
What is shipped is an average over steps.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import compress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.api import Clip
from bench.systems.hicodit.joined import Joined, VoiceScale
from bench.systems.hicodit.training.average import Average
from bench.systems.hicodit.training.clips import Drawn, VoiceOf, fitted_scale, own_voice, speaker_voice, voices
from bench.systems.hicodit.training.data import Batch, Records
from bench.systems.hicodit.training.evaluate import Judge
from bench.systems.hicodit.training.hearing import Hearing
from bench.systems.hicodit.training.makers import Makers, record_makers
from bench.systems.hicodit.training.objective import identity_distance, score
from bench.systems.hicodit.training.options import RECIPES, DitOptions, Recipe
from bench.systems.hicodit.training.records import RECORDS
from bench.train import Loss, Stage
from bench.train_files import Sound
from bench.train_rates import cosine, set_rate
from bench.train_request import TrainRequest
from bench.trained import filled, regular
from bench.weights import sha256

NETWORK = "hicodit"
_MODEL, _ADAPTER = "model", "adapter"
_ADAPTER_NAMES = "dit.identity.mlp."
_CLIP_NORM = 1.0
_DIGITS = 12


def stage(request: TrainRequest) -> Stage:
    """The stage ``dit``.

    Raises:
        UsageError: unknown settings; a codec or weights that are not here.
    """
    options = request.options(DitOptions)
    recipe = RECIPES[request.config].changed(options)
    makers = record_makers(request.config, request.device, options.codec, options.tokens)
    return DitStage(request, options, recipe, dit_data(request, recipe, makers))


@dataclass(frozen=True, slots=True)
class DitData:
    """What is learned from and judged by (``None``: nothing). ``scale``: of the tiny configuration's voices."""

    clips: Drawn
    held_out: Drawn | None
    scale: VoiceScale | None
    makers: Makers


def dit_data(request: TrainRequest, recipe: Recipe, makers: Makers) -> DitData:
    """The clips of a request; in the tiny configuration all of them are made now, for the statistics of voices."""
    load = partial(RECORDS.of, folder=request.folder.parent / "hicodit", makers=makers)

    def made(clips: Sequence[Clip]) -> Records:
        return Records(clips, load, recipe.seconds, request.progress)

    learned, held_out = made(request.clips), made(request.held_out) if request.held_out else None
    scale = fitted_scale(learned, request.progress) if request.config == "tiny" else None
    known = voices(learned, scale) if scale is not None else {}

    def drawn(records: Records) -> Drawn:
        voice_of: VoiceOf = own_voice(records) if scale is None else speaker_voice(records, scale, known)
        return Drawn(records, voice_of, recipe, request.seed)

    return DitData(drawn(learned), None if held_out is None else drawn(held_out), scale, makers)


class DitStage(Stage):
    """The score's loss and the adapter's; the curve has cross entropies of masked tokens by level, unweighted."""

    name = "hicodit-dit"
    bad_steps = 5
    clip_norm: Mapping[str, float] = {_MODEL: _CLIP_NORM, _ADAPTER: _CLIP_NORM}

    def __init__(self, request: TrainRequest, options: DitOptions, recipe: Recipe, data: DitData) -> None:
        self._options, self._recipe, self._data = options, recipe, data
        self._joined = fresh(recipe, data.scale, request.seed)
        if options.start is not None:
            filled(self._joined, Path(options.start), NETWORK, "start").requires_grad_(True)
        self._average = Average(self._joined, recipe.average)
        self._optimisers = optimisers(self._joined, recipe)
        self._judge = None if data.held_out is None else Judge(data.held_out, recipe)
        self._hearing = None if data.held_out is None else Hearing(data.held_out, data.makers.codec)
        self._measured: dict[str, float] = {}
        self._sounds: dict[str, Sound] = {}
        self._told = {
            **request.identity(),
            **options.model_dump(mode="json", exclude={"codec", "tokens", "start"}),
            **recipe.described(),
            "start": None if options.start is None else sha256(regular(Path(options.start), "start"))[:_DIGITS],
            "records": data.makers.identity,
        }

    def networks(self) -> Mapping[str, nn.Module]:
        """See :meth:`Stage.networks`; ``hicodit`` is what is shipped."""
        return {"learning": self._joined, NETWORK: self._average.network}

    def optimisers(self) -> Mapping[str, torch.optim.Optimizer]:
        """See :meth:`Stage.optimisers`."""
        return self._optimisers

    def describe(self) -> Mapping[str, Any]:
        """See :meth:`Stage.describe`."""
        return self._told

    def facts(self) -> Mapping[str, str]:
        """The sizes, and the codec whose codes these are."""
        codec = self._data.makers.codec
        return {"sizes": json.dumps(asdict(self._recipe.sizes)), "codec": codec.name, "codebooks": codec.hash()}

    def batch(self, step: int, rank: int, world: int) -> Batch:
        """See :meth:`Stage.batch`."""
        return self._data.clips.batch(step, rank, world)

    def begin(self, step: int) -> None:
        """Sets the learning rate; takes the step before into the average, and now and then measures."""
        for optimiser in self._optimisers.values():
            set_rate(optimiser, rate_at(step, self._recipe))
        self._measured, self._sounds = {}, {}
        if step == 0:
            return
        self._average.update()
        if step % self._recipe.eval_every == 0:
            self._measured = self.judged()
        if self._hearing is not None and self._recipe.sound_every and step % self._recipe.sound_every == 0:
            heard, self._sounds = self._hearing(self._average.network.eval(), self._device)
            self._measured |= heard

    def losses(self, batch: Batch, step: int, generator: torch.Generator) -> Iterator[Loss]:
        """See :meth:`Stage.losses`."""
        batch = batch.to(self._device)
        found = score(self._joined, batch, self._voice(batch), self._recipe, generator.initial_seed())
        nats = found.cross_entropy / found.masked.clamp_min(1)
        by_level = {f"level{level + 1}": value for level, value in enumerate(nats.unbind())}
        yield Loss(_MODEL, found.total, {"score": found.total.detach(), **by_level, **self._measured})
        distance = identity_distance(self._joined, batch)
        yield Loss(_ADAPTER, self._recipe.identity_weight * distance, {"identity": distance.detach()})

    def sounds(self, step: int) -> Mapping[str, Sound]:
        """What was heard before the step."""
        return self._sounds

    def finish(self) -> None:
        """The last step's weights enter the average."""
        self._average.update()

    def judged(self) -> dict[str, float]:
        """What :class:`.evaluate.Judge` finds in the averaged network."""
        if self._judge is None:
            return {}
        return self._judge(self._average.network.eval(), self._device)

    @property
    def _device(self) -> torch.device:
        return next(self._joined.parameters()).device

    def _voice(self, batch: Batch) -> Tensor:
        if self._options.identity == "voice":
            return batch.voice
        return self._joined.dit.visual_identity(batch.face).detach()


def fresh(recipe: Recipe, scale: VoiceScale | None, seed: int) -> Joined:
    """Random weights; the statistics of voices are those of ``scale``."""
    torch.manual_seed(seed)
    joined = Joined(recipe.sizes, front=scale is not None)
    if scale is not None and joined.voice is not None:
        joined.voice.load_state_dict(scale.state_dict())
    return joined


def rate_at(step: int, recipe: Recipe) -> float:
    """The learning rate of a step."""
    if recipe.schedule is None:
        return recipe.rate * min(1.0, (step + 1) / recipe.warm_up)
    return recipe.rate * cosine(step, recipe.schedule, recipe.warm_up, recipe.floor)


def optimisers(joined: Joined, recipe: Recipe) -> dict[str, torch.optim.Optimizer]:
    """One for the face adapter, one for all else; embeddings, biases and null vectors do not decay."""
    embeddings = {id(one.weight) for one in joined.modules() if isinstance(one, nn.Embedding)}
    adapter = {id(one) for name, one in joined.named_parameters() if name.startswith(_ADAPTER_NAMES)}

    def made(chosen: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        decays = [one.ndim > 1 and id(one) not in embeddings for one in chosen]
        groups = [
            {"params": list(compress(chosen, decays)), "weight_decay": recipe.weight_decay},
            {"params": [one for one, decay in zip(chosen, decays, strict=True) if not decay], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, recipe.rate, recipe.betas, fused=True)

    parameters = list(joined.parameters())
    return {
        _MODEL: made([one for one in parameters if id(one) not in adapter]),
        _ADAPTER: made([one for one in parameters if id(one) in adapter]),
    }
