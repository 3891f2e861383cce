"""What a dry run says of cost: the rates and what they rest on, the sums of the plan, and other sets of clips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.commands.catalogue import Row, render_table
from bench.cost_plan import SCENES, Bill, Estimator, Share, projected, rates_of

if TYPE_CHECKING:
    from bench.cost_model import Rate
    from bench.plan import RunPlan
    from bench.records import Protocol
    from bench.stage_meter import StageName

MANY = (8, 64)  # workers that projections are made for, beside those of the command
_UNITS = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"))
_SIZES = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def text(
    estimator: Estimator,
    shares: Sequence[Share],
    runs: Sequence[tuple[RunPlan, Sequence[Protocol]]],
    workers: int,
    device: str,
) -> str:
    """The blocks on cost. ``shares``: what is left to do; ``runs``: the plan, whatever is done of it."""
    rates = rates_of(runs, estimator.rates)
    parts = ["rates\n" + render_table([_rate(name, rate) for name, rate in rates])]
    parts.append(_stages(estimator))
    bills = {("this plan", f"{sum(share.make.clips for share in shares):,.0f}"): estimator.bill(shares)}
    for scene in SCENES:
        bills[f"{scene.name}, {scene.clip_s:g} s each", f"{scene.clips:,}"] = estimator.bill(projected(scene, runs))
    heads = {key: dict(zip(("clips", "n"), key, strict=True)) for key in bills}
    title = f"what is left of this plan, and the same runs on other clips ({device}, workers here: {workers})\n"
    parts.append(title + render_table([heads[key] | _times(estimator, bill, workers) for key, bill in bills.items()]))
    parts.append("bytes\n" + render_table([heads[key] | _sizes(bill) for key, bill in bills.items()]))
    parts.append(_caution(estimator, rates))
    return "\n\n".join(part for part in parts if part)


def _rate(name: str, rate: Rate) -> Row:
    return {
        "seconds of a device": name,
        "per s of media": f"{rate.own.per_s:.4f}",
        "per clip": f"{rate.own.fixed_s:.3f}",
        "truth, once, per s": f"{rate.once.per_s:.4f}",
        "basis": rate.basis,
    }


def _stages(estimator: Estimator) -> str:
    lines = []
    names: tuple[StageName, ...] = ("generate", "score")
    for name in names:
        stage = estimator.rates.stage(name)
        basis = f"measured on {stage.samples} units" if stage.samples else "guess"
        lines.append(
            f"{name}: {stage.start_s:.1f} s to start, {stage.load_s:.1f} s to load a model, "
            f"workers {stage.busy:.0%} busy ({basis})"
        )
    return "\n".join(lines)


def _times(estimator: Estimator, bill: Bill, workers: int) -> dict[str, str]:
    row = {
        "media": duration(bill.media_s),
        "generate h": _hours(bill.stages["generate"].seconds),
        "score h": _hours(bill.stages["score"].seconds),
        "device hours": _hours(bill.device_s),
        "guessed": f"{bill.guessed:.0%}",
    }
    counts = dict.fromkeys([workers, *MANY])
    return row | {f"wall on {n}": duration(estimator.wall(bill, n)) for n in counts}


def _sizes(bill: Bill) -> dict[str, str]:
    size = bill.bytes
    named = {"read": size.read, "media files": size.media, "database": size.database, "features": size.features}
    return {what: amount(count) for what, count in named.items()}


def _caution(estimator: Estimator, rates: Sequence[tuple[str, Rate]]) -> str:
    guessed = [name for name, rate in rates if not rate.samples]
    lines = ["device hours are those of one worker's core or GPU; wall times count starting, loading and the tail."]
    if guessed:
        shown = ", ".join(guessed[:4]) + (f" and {len(guessed) - 4} more" if len(guessed) > 4 else "")
        lines.append(f"guesses (good to a factor of 3): {shown}; `--limit 8` without --dry-run measures them here.")
    return "\n".join(lines)


def _hours(seconds: float) -> str:
    hours = seconds / 3600
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.3g}"


def duration(seconds: float) -> str:
    """Seconds for people: two or three figures and the unit that suits."""
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}" if seconds < 1000 * size else f"{seconds / size:,.0f} {unit}"
    return f"{seconds:.0f} s"


def amount(count: float) -> str:
    """Bytes for people."""
    for size, unit in _SIZES:
        if count >= size:
            return f"{count / size:.3g} {unit}" if count < 1000 * size else f"{count / size:,.0f} {unit}"
    return f"{count:.0f} B"
