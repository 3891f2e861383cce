"""``--dry-run``: what a command would do, what is there already, what it needs, how long it may take."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.commands.catalogue import Row, render_table
from bench.errors import BenchError
from bench.generate import stored_outputs, todo
from bench.planning import Work, plan
from bench.protocols import Selection
from bench.score import applicable, score_key
from bench.store import Store

if TYPE_CHECKING:
    from bench.block_work import Blocks
    from bench.config import Effective
    from bench.plan import RunPlan
    from bench.progress import Progress
    from bench.records import Protocol

BYTES_PER_SECOND = 120_000  # of stored media at 224x224: H.264 CRF 10 and 16-bit audio
GENERATE_S = 1.0  # first guess of seconds per clip where the store has no measurement


def describe(effective: Effective, chosen: Selection | None, progress: Progress) -> str:
    """The plan as text. Nothing is written; a store that is not there yet counts as empty."""
    settings = effective.settings
    store = Store.open(settings.out, write=False) if (settings.out / "store.sqlite").exists() else None
    try:
        work = plan(effective, store, progress)
        parts = [_generation(work, store, settings.force)]
        if chosen is not None:
            parts += [_scoring(work, store, chosen, settings.force), _left_out(chosen)]
        parts += [_weights(work, chosen), _settings(effective), _machine(work, settings.out), *work.notices]
        return "\n\n".join(part for part in parts if part)
    finally:
        if store is not None:
            store.close()


def describe_blocks(effective: Effective, blocks: Blocks, scoring: bool, progress: Progress) -> str:
    """The plan of all blocks of a file as text: which rows each has, then the runs behind them, each once."""
    settings = effective.settings
    store = Store.open(settings.out, write=False) if (settings.out / "store.sqlite").exists() else None
    try:
        found = blocks.plan(store, progress)
        named = [(block.block.name, one.row.label, one.plan.record) for block in found.blocks for one in block.rows]
        rows: list[Row] = [
            {"block": name, "row": label, "system": run.system, "run": run.id} for name, label, run in named
        ]
        without = "\n".join(found.reasons())
        shown = replace(found.work, before=_beyond(found.work))
        parts = ["blocks\n" + render_table(rows), without, _generation(shown, store, settings.force)]
        for chosen, plans in found.judged() if scoring else []:
            part = Work(plans=plans)
            parts += [_scoring(part, store, chosen, settings.force), _left_out(chosen), _weights(part, chosen)]
        parts += [_settings(effective), _machine(found.work, settings.out), *found.work.notices]
        return "\n\n".join(part for part in parts if part)
    finally:
        if store is not None:
            store.close()


def _beyond(work: Work) -> list[RunPlan]:
    """The runs that others need, where they are not rows over the same clips anyway."""
    shown = {(plan.record.id, len(plan.items)) for plan in work.plans}
    return [run for run in work.before if (run.record.id, len(run.items)) not in shown]


def _generation(work: Work, store: Store | None, force: bool) -> str:
    rows = []
    for run in [*work.before, *work.plans]:
        missing = todo(store, run, force)
        rows.append(
            {
                "run": run.record.id,
                "system": run.record.system,
                "task": run.record.task,
                "condition": "/".join(p for p in (run.record.pairing, run.record.audio, run.record.reference) if p),
                "clips": f"{len(run.items)}/{run.record.n_split}",
                "stored": len(run.items) - len(missing),
                "to do": len(missing),
                "no input": _without_input(run),
                "est. s": f"{len(missing) * _seconds_per_clip(store, run):.0f}",
            }
        )
    return "generate\n" + render_table(rows) + _total(rows)


def _total(rows: Sequence[Row]) -> str:
    """The sum of the estimates, on one core; how many cores share it is the engine's matter."""
    return f"\ntogether about {sum(float(row['est. s']) for row in rows):.0f} s on one core"


def _without_input(run: RunPlan) -> str:
    count = sum(item.staging is None for item in run.items)
    return f"{count} wait for tts" if count and run.record.audio.startswith("tts") else str(count)


def _seconds_per_clip(store: Store | None, run: RunPlan) -> float:
    measured = [output.seconds for output in stored_outputs(store, run.record.id).values() if output.status == "ok"]
    return sum(measured) / len(measured) if measured else GENERATE_S


def _scoring(work: Work, store: Store | None, chosen: Selection, force: bool) -> str:
    rows = []
    for run in work.plans:
        outputs = stored_outputs(store, run.record.id)
        for protocol in applicable(chosen, run):
            done = 0 if store is None or force else _scored(store, run, protocol)
            known = sum(item.clip.id in outputs and outputs[item.clip.id].status == "ok" for item in run.items)
            left = len(run.items) - done
            rows.append(
                {
                    "protocol": protocol.id,
                    "system": run.record.system,
                    "task": run.record.task,
                    "stored": done,
                    "to do": max(0, known - done),
                    "waiting for outputs": len(run.items) - known,
                    "est. s": f"{left * protocol.cost_hint_s:.0f}",
                }
            )
    return "score\n" + render_table(rows) + _total(rows)


def _scored(store: Store, run: RunPlan, protocol: Protocol) -> int:
    outputs = stored_outputs(store, run.record.id)
    keys = [
        score_key(protocol, run, item, outputs[item.clip.id])
        for item in run.items
        if item.clip.id in outputs and outputs[item.clip.id].status == "ok"
    ]
    return sum(state in {"ok", "failed"} for state in store.have_scores(keys).values())


def _weights(work: Work, chosen: Selection | None) -> str:
    from bench.weights import locate

    files = {w.name: w for protocol in (chosen.protocols if chosen else ()) for w in protocol.weights}
    for run in [*work.before, *work.plans]:
        files |= {w.name: w for w in run.spec.build().weights_for(run.record.task)}
    rows = [
        {"weights": w.name, "licence": w.licence, "state": "here" if locate(w) else f"missing: {w.source}"}
        for w in files.values()
    ]
    return render_table(rows)


def _left_out(chosen: Selection) -> str:
    from bench.commands import left_out

    return left_out.text(left_out.reasons(chosen), "left out")


def _settings(effective: Effective) -> str:
    rows = [
        {"setting": name.replace("_", "-"), "value": str(entry["value"]), "from": str(entry["from"])}
        for name, entry in effective.record().items()
        if entry["from"] != "default"
    ]
    return render_table(rows)


def _machine(work: Work, out: Path) -> str:
    seconds = sum(item.clip.duration_s for run in work.plans for item in run.items)
    folder = out.absolute()
    while not folder.exists():
        folder = folder.parent
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise BenchError(f"{folder}: {error}") from error
    need = seconds * BYTES_PER_SECOND
    return f"disk: about {need / 2**20:.0f} MiB of media, {free / 2**30:.0f} GiB free in {folder}"
