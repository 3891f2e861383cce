"""Fast sampling of HiCoDiT against the plain loop: the same tokens from the same numbers, with less work."""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bench.detfill import fill_module
from bench.errors import UsageError
from bench.systems.hicodit import stack_cache
from bench.systems.hicodit.batch import Batch
from bench.systems.hicodit.cache import Prepared
from bench.systems.hicodit.guidance import BRANCHES, PAPER, Guidance
from bench.systems.hicodit.model import HiCoDiT
from bench.systems.hicodit.sampling import PRESETS, Job, Sampler, clip_generator, sample
from bench.systems.hicodit.sizes import Sizes
from bench.systems.hicodit.stages import Wanted

sys.path.insert(0, str(Path(__file__).parents[1] / "speed"))
from hicodit_naive import example_jobs, naive_sample

SMALL = Sizes(4, 2, 16, 32, 2, 4, 2, 2, lip=20, face=12, voice=8)
LENGTHS = (21, 34)
EVERY = Guidance(w_all=1.0, w_lip=0.5, w_id=0.25, w_emo=0.7)
#: A setting each of what the presets do not cover, and the presets with fewer steps.
SAMPLERS = {
    "euler": replace(Sampler.preset("paper"), steps=7),
    "analytic": Sampler("analytic", 5, guidance=EVERY),
    "tau": replace(Sampler.preset("default"), steps=7),
    "tau-literal-product": Sampler("tau", 5, guidance=replace(EVERY, b=2.0, renormalize=False)),
    "tau-staged-sharp": Sampler("tau", 5, 4, temperature=0.7, top_p=0.8),
    "confidence": Sampler("confidence", 6, kappa=1.0, temperature=0.7),
    "fast": replace(Sampler.preset("fast"), steps=5, high_steps=3),
    "tiny": Sampler.preset("tiny"),
}


def _model(**variant: object) -> HiCoDiT:
    return fill_module(HiCoDiT(replace(SMALL, **variant)), 1.5).eval()  # type: ignore[arg-type]


def _equal(first: list[Tensor], second: list[Tensor]) -> bool:
    return len(first) == len(second) and all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("name", SAMPLERS)
def test_tokens_are_those_of_the_plain_loop(name: str) -> None:
    """Every method, clips of two lengths in one batch."""
    model, sampler = _model(), SAMPLERS[name]
    found = sample(model, example_jobs(SMALL, LENGTHS), sampler)
    assert [tuple(tokens.shape) for tokens in found] == [(4, length) for length in LENGTHS]
    assert all(0 <= int(tokens.min()) <= int(tokens.max()) < SMALL.codes for tokens in found)
    assert _equal(found, naive_sample(model, example_jobs(SMALL, LENGTHS), sampler))


@pytest.mark.parametrize(
    "variant", [{"hierarchy": False}, {"dual_scale": False}, {"emotion": False}, {"parameterisation": "free"}]
)
def test_tokens_of_the_variants_are_those_of_the_plain_loop(variant: dict[str, object]) -> None:
    """All settings of the conditions at once, and stages."""
    model = _model(**variant)
    for sampler in (Sampler("tau", 4, guidance=EVERY), Sampler("confidence", 4, 3)):
        found = sample(model, example_jobs(SMALL, LENGTHS), sampler)
        assert _equal(found, naive_sample(model, example_jobs(SMALL, LENGTHS), sampler))


@pytest.mark.parametrize("hierarchy", [True, False])
def test_logits_are_those_of_the_network(hierarchy: bool) -> None:
    """At every position, of all five settings, to 1e-4; modulations held for one step at a time or for all."""
    model = _model(hierarchy=hierarchy)
    jobs = example_jobs(SMALL, LENGTHS)
    times, longest = (0.9, 0.4, 0.1), max(LENGTHS)
    batch = Batch.of([job.conditions for job in jobs], LENGTHS, SMALL, torch.device("cpu"))
    x = torch.randint(17, (2, 4, longest), generator=torch.Generator().manual_seed(0))
    valid = torch.arange(longest) < torch.tensor(LENGTHS)[:, None]
    wanted = Wanted(valid[:, None].expand(-1, 4, -1), range(4))
    with torch.no_grad():
        prepared = Prepared(model, batch, EVERY, range(4), times, times[::-1])
        for turn in range(3):
            found = prepared.logits(turn, x, wanted.flags, wanted.places)
            for name, drop in BRANCHES.items():
                t_low, t_high = torch.full((2,), times[turn]), torch.full((2,), times[2 - turn])
                drops = torch.tensor([drop, drop])
                z = model(x, t_low, t_high, batch.lip, batch.identity, batch.emotion, drops, batch.lengths)
                for level in range(4):
                    if name in found[level]:
                        assert torch.allclose(found[level][name], z[:, level][valid], atol=1e-4)
    assert set(found[3]) == set(BRANCHES)
    assert ("emotion" in found[0]) is not hierarchy


def test_modulations_of_later_steps_are_made_when_their_turn_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever number of them is held."""
    model, sampler = _model(), SAMPLERS["tau"]
    expected = sample(model, example_jobs(SMALL, LENGTHS), sampler)
    monkeypatch.setattr(stack_cache, "_HELD", 3000)
    assert _equal(sample(model, example_jobs(SMALL, LENGTHS), sampler), expected)


def test_batch_and_order_change_nothing() -> None:
    """Clips alone, together, in reverse, and in batches of few frames."""
    model, sampler, lengths = _model(), SAMPLERS["fast"], (21, 34, 9)
    together = sample(model, example_jobs(SMALL, lengths), sampler)
    assert _equal([sample(model, [job], sampler)[0] for job in example_jobs(SMALL, lengths)], together)
    assert _equal(sample(model, example_jobs(SMALL, lengths)[::-1], sampler), together[::-1])
    assert _equal(sample(model, example_jobs(SMALL, lengths), replace(sampler, frames_per_batch=90)), together)


@pytest.mark.parametrize("name", ["euler", "tau", "confidence", "tiny"])
def test_given_tokens_stay(name: str) -> None:
    """And the rest depends on them as in the plain loop."""
    model, job = _model(), example_jobs(SMALL, (30,))[0]
    fixed = torch.full((4, 30), SMALL.mask)
    fixed[:, :12] = torch.randint(16, (4, 12), generator=torch.Generator().manual_seed(3))

    def again() -> Job:
        return replace(job, fixed=fixed, generator=clip_generator(5, "a"))

    (tokens,) = sample(model, [again()], SAMPLERS[name])
    assert torch.equal(tokens[:, :12], fixed[:, :12])
    assert int(tokens.max()) < SMALL.codes
    assert _equal([tokens], naive_sample(model, [again()], SAMPLERS[name]))


def _counted(model: HiCoDiT, sampler: Sampler, length: int) -> tuple[Counter[str], Counter[str]]:
    """How often blocks and heads ran, and on how many rows the heads."""
    passes: Counter[str] = Counter()
    rows: Counter[str] = Counter()
    for name, module in model.named_modules():
        if name in ("low.0", "high.0") or name.startswith("heads."):

            def count(_: object, given: tuple[Tensor, ...], out: Tensor, name: str = name) -> None:
                passes[name] += 1
                rows[name] += out.shape[0] * out.shape[1]

            module.register_forward_hook(count)
    sample(model, example_jobs(SMALL, (length,)), sampler)
    return passes, rows


def test_stages_run_no_block_in_vain() -> None:
    """While the low levels are made the high stack rests; then the low stack runs once. Heads see masked tokens."""
    passes, rows = _counted(_model(), Sampler("confidence", 12, 6), 50)
    assert passes["low.0"] == 12 + 1
    assert passes["high.0"] == 6
    assert rows["heads.0"] < 12 * 50 * 0.7
    assert rows["heads.3"] < 6 * 50 * 0.8


def test_tau_asks_for_each_token_once() -> None:
    """Steps that reveal nothing run nothing."""
    passes, rows = _counted(_model(), Sampler("tau", 64), 2)
    assert all(rows[f"heads.{level}"] == 2 for level in range(4))
    assert passes["high.0"] <= 4
    assert passes["low.0"] <= 8


def test_presets_are_those_of_the_design() -> None:
    """And each changes by ``replace``."""
    paper, default, fast, tiny = (Sampler.preset(name) for name in PRESETS)
    assert (paper.method, paper.steps, paper.guidance) == ("euler", 64, PAPER["lrs3"])
    assert Sampler.preset("paper", "lrs2").guidance == PAPER["lrs2"]
    assert (default.method, default.steps, default.guidance) == ("tau", 32, PAPER["lrs3"])
    assert (fast.method, fast.steps, fast.high_steps, fast.guidance.branches()) == (
        "confidence",
        12,
        6,
        ("none", "all"),
    )
    assert (tiny.steps, tiny.high_steps, tiny.kappa, tiny.guidance.branches()) == (12, 6, 4.5, ("all",))


def test_the_generator_of_a_clip_is_seeded_by_its_id() -> None:
    """The documented rule, independent of Python's own hash."""
    mixed = (7 ^ int.from_bytes(hashlib.sha256("clip é".encode()).digest()[:8], "little")) % 2**63
    assert clip_generator(7, "clip é").initial_seed() == mixed
    assert clip_generator(7, "clip").initial_seed() != clip_generator(8, "clip").initial_seed()


def test_wrong_settings_and_empty_clips_are_refused() -> None:
    """With a reason."""
    with pytest.raises(UsageError, match="no sampler preset 'tinny'"):
        Sampler.preset("tinny")
    with pytest.raises(UsageError, match="no sampling method"):
        Sampler("eular")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="at least one step"):
        Sampler("tau", 4, 0)
    with pytest.raises(UsageError, match="temperature"):
        Sampler(temperature=0)
    job = example_jobs(SMALL, (30,))[0]
    with pytest.raises(ValueError, match="without frames"):
        sample(_model(), [replace(job, length=0)], SAMPLERS["tiny"])
    with pytest.raises(ValueError, match="2 emotion steps do not last"):
        sample(_model(), [replace(job, length=51)], SAMPLERS["tiny"])
