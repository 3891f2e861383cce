"""What a command says of its work at the end, and the exit code that follows from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from bench.generate import Tally
    from bench.plan import RunPlan
    from bench.protocols import Selection
    from bench.store import Store


def tell(say: Any, made: Tally, scored: Tally, generating: bool, scoring: bool) -> None:
    """One line per stage: how much was made, there, and failed."""
    for name, tally, on in (("generated", made, generating), ("scores", scored, scoring)):
        if on:
            say(f"{name}: {tally.done} new, {tally.resumed} were there, {tally.failed} failed")


def verdict(
    store: Store,
    judged: Sequence[tuple[Selection | None, Sequence[RunPlan]]],
    absent: Sequence[str],
    conflicts: int,
    strict: bool,
) -> int:
    """3 for conflicts; 1 where a requested protocol has no value at all, or, if strict, any failure."""
    if conflicts:
        typer.echo("bench: results came twice and differ; `bench runs show RUN` lists them.", err=True)
        return 3
    empty = [f"{what}: nothing generated" for what in absent]
    failed = 0
    for chosen, plans in judged:
        for plan in plans:
            without, count = _missed(store, plan, chosen)
            empty += without
            failed += count
    if empty:
        more = [f"and {len(empty) - _SHOWN} more"] if len(empty) > _SHOWN else []
        lines = "".join(f"\n  {line}" for line in [*empty[:_SHOWN], *more])
        typer.echo(
            f"bench: no value at all for:{lines}\n  `bench export FILE.csv` has the reason of every clip.", err=True
        )
    return 1 if empty or (strict and failed) else 0


_SHOWN = 10  # lines of a message


def _missed(store: Store, plan: RunPlan, chosen: Selection | None) -> tuple[list[str], int]:
    """What was asked for of a run and has no value, each with its kinds of failure; and how many failures there are.

    Only the selected clips and the chosen protocols count (outputs alone where nothing is scored).
    """
    from bench.score import applicable

    run = plan.record
    selected = {item.clip.id for item in plan.items}
    outputs = {clip_id: output for clip_id, output in store.outputs(run.id).items() if clip_id in selected}
    kinds = Counter(output.kind for output in outputs.values() if output.status != "ok")
    failed = kinds.total()
    if chosen is None:
        return [] if failed < len(outputs) else [_line(f"{run.system} {run.task}", kinds)], failed
    empty: list[str] = []
    asked = set(store.protocols(run.id))  # `auto` leaves out what cannot judge these data
    for protocol in applicable(chosen, plan):
        if protocol.id not in asked:
            continue
        column = store.scores(run.id, protocol.id)
        rows = zip(column.clip_ids, column.kinds, column.ok.tolist(), strict=True)
        found = [(kind, ok) for clip_id, kind, ok in rows if clip_id in selected]
        kinds = Counter(kind for kind, _ in found if kind)
        failed += kinds.total()
        if not any(ok for _, ok in found):
            empty.append(_line(f"{run.system} {run.task} {protocol.id}", kinds))
    return empty, failed


def _line(what: str, kinds: Counter[str]) -> str:
    return f"{what}: " + (", ".join(f"{count} {kind}" for kind, count in kinds.most_common()) or "nothing generated")
