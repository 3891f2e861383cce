"""``--dry-run``: what a command would do, what is there already, what it needs, how long it may take."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from bench import network_fs
from bench.commands import projections
from bench.commands.catalogue import Row, render_table
from bench.cost_model import Amount
from bench.cost_plan import Estimator, Judged, Share
from bench.errors import BenchError
from bench.generate import stored_outputs, todo
from bench.planning import Work, plan
from bench.protocols import Selection
from bench.score import applicable, score_key
from bench.store import Store
from bench.work import ray_device, resolve_device

if TYPE_CHECKING:
    from bench.block_work import Blocks
    from bench.config import Effective, RunSettings
    from bench.plan import Item, RunPlan
    from bench.progress import Progress
    from bench.records import Protocol
    from bench.store_records import OutputRecord


def describe(effective: Effective, chosen: Selection | None, progress: Progress) -> str:
    """The plan as text. Nothing is written; a store that is not there yet counts as empty."""
    with _stored(effective.settings) as store:
        work = plan(effective, store, progress)
        costs = _Costs(store, effective.settings)
        parts = [costs.generation(work)]
        if chosen is not None:
            parts += [costs.scoring(work.plans, chosen), _left_out(chosen)]
        parts += [_weights(work, chosen), _settings(effective), costs.text(), costs.machine(), *work.notices]
        return "\n\n".join(part for part in parts if part)


def describe_blocks(effective: Effective, blocks: Blocks, scoring: bool, progress: Progress) -> str:
    """The plan of all blocks of a file as text: which rows each has, then the runs behind them, each once."""
    with _stored(effective.settings) as store:
        found = blocks.plan(store, progress)
        costs = _Costs(store, effective.settings)
        named = [(block.block.name, one.row.label, one.plan.record) for block in found.blocks for one in block.rows]
        rows: list[Row] = [
            {"block": name, "row": label, "system": run.system, "run": run.id} for name, label, run in named
        ]
        without = "\n".join(found.reasons())
        shown = replace(found.work, before=_beyond(found.work))
        parts = ["blocks\n" + render_table(rows), without, costs.generation(shown)]
        for chosen, plans in found.judged() if scoring else []:
            parts += [costs.scoring(plans, chosen), _left_out(chosen), _weights(Work(plans=plans), chosen)]
        parts += [_settings(effective), costs.text(), costs.machine(), *found.work.notices]
        return "\n\n".join(part for part in parts if part)


@contextmanager
def _stored(settings: RunSettings) -> Iterator[Store | None]:
    """The store of the command, open for reading; ``None`` where there is none yet."""
    if not (settings.out / "store.sqlite").exists():
        yield None
        return
    with Store.open(settings.out, write=False, media_root=settings.media_root) as store:
        yield store


def _beyond(work: Work) -> list[RunPlan]:
    """The runs that others need, where they are not rows over the same clips anyway."""
    shown = {(plan.record.id, len(plan.items)) for plan in work.plans}
    return [run for run in work.before if (run.record.id, len(run.items)) not in shown]


class _Costs:
    """Collects what is left to do while the tables of a plan are made, and what that will take."""

    def __init__(self, store: Store | None, settings: RunSettings) -> None:
        self._store, self._settings = store, settings
        device = ray_device(settings) if settings.engine == "ray" else resolve_device(settings.device)
        self._device = device.partition(":")[0]
        self._workers = _workers(settings, device)
        self._estimator = Estimator(store, self._device)
        self._shares: dict[str, Share] = {}
        self._protocols: dict[str, dict[str, Protocol]] = {}  # by run
        self._met: set[tuple[str, str]] = set()  # protocol and truth that some score looks at

    def _share(self, run: RunPlan) -> Share:
        return self._shares.setdefault(run.record.id, Share(run))

    def generation(self, work: Work) -> str:
        """What is to be generated, run by run."""
        rows: list[Row] = []
        for run in [*work.before, *work.plans]:
            missing = todo(self._store, run, self._settings.force)
            share = self._share(run)  # a run may be there twice, for the speech that others need and as a row
            share.make = max(share.make, _amount(missing))
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
                    "est. s": f"{self._estimator.generation(run, _amount(missing)).seconds:.0f}",
                }
            )
        return "generate\n" + render_table(rows) + _total(rows)

    def scoring(self, plans: Sequence[RunPlan], chosen: Selection) -> str:
        """What is to be scored, protocol by protocol."""
        rows: list[Row] = []
        for run in plans:
            outputs = stored_outputs(self._store, run.record.id)
            known = sum(item.clip.id in outputs and outputs[item.clip.id].status == "ok" for item in run.items)
            for protocol in applicable(chosen, run):
                left = self._unscored(run, protocol, outputs)
                judged = self._judged(run, protocol, left)
                rows.append(
                    {
                        "protocol": protocol.id,
                        "system": run.record.system,
                        "task": run.record.task,
                        "stored": len(run.items) - len(left),
                        "to do": max(0, known - len(run.items) + len(left)),
                        "waiting for outputs": len(run.items) - known,
                        "est. s": f"{self._estimator.scoring(run, judged).seconds:.0f}",
                    }
                )
        return "score\n" + render_table(rows) + _total(rows)

    def _unscored(self, run: RunPlan, protocol: Protocol, outputs: Mapping[str, OutputRecord]) -> list[Item]:
        """Items of a run that have no final score yet, be it that they have no output."""
        if self._store is None or self._settings.force:
            return list(run.items)
        keys = {
            item.clip.id: score_key(protocol, run, item, outputs[item.clip.id])
            for item in run.items
            if item.clip.id in outputs and outputs[item.clip.id].status == "ok"
        }
        states = self._store.have_scores(keys.values())
        done = {clip_id for clip_id, key in keys.items() if states.get(key) in {"ok", "failed"}}
        self._met |= {(protocol.id, item.reference.sha256) for item in run.items if item.clip.id in done}
        return [item for item in run.items if item.clip.id not in done]

    def _judged(self, run: RunPlan, protocol: Protocol, left: Sequence[Item]) -> Judged:
        fresh = [item for item in left if (protocol.id, item.reference.sha256) not in self._met]
        self._met |= {(protocol.id, item.reference.sha256) for item in fresh}
        judged = Judged(protocol, _amount(left), _amount(fresh))
        known = self._protocols.setdefault(run.record.id, {})
        if protocol.id not in known:  # a row of several blocks is scored once
            self._share(run).judge.append(judged)
            known[protocol.id] = protocol
        return judged

    def text(self) -> str:
        """What all of it takes, and would take for other sets of clips."""
        runs = [(share.run, list(self._protocols.get(id_, {}).values())) for id_, share in self._shares.items()]
        return projections.text(self._estimator, list(self._shares.values()), runs, self._workers, self._device)

    def machine(self) -> str:
        """Whether the disk has room, and whether it is one for a store."""
        folder = self._settings.out.absolute()
        while not folder.exists():
            folder = folder.parent
        try:
            free = shutil.disk_usage(folder).free
        except OSError as error:
            raise BenchError(f"{folder}: {error}") from error
        need = self._estimator.bill(list(self._shares.values())).bytes.media
        line = f"disk: about {need / 2**20:.0f} MiB of media, {free / 2**30:.0f} GiB free in {folder}"
        return "\n".join(filter(None, [line, network_fs.warning(folder)]))


def _workers(settings: RunSettings, device: str) -> int:
    """How many the command would have; of a cluster elsewhere only ``--workers`` tells."""
    if settings.workers is not None:
        return max(1, settings.workers)
    if not device.startswith("cuda"):
        return os.cpu_count() or 1
    import torch

    return 1 if ":" in device else max(1, torch.cuda.device_count())


def _amount(items: Sequence[Item]) -> Amount:
    return Amount.of([item.clip.duration_s for item in items])


def _total(rows: Sequence[Row]) -> str:
    """The sum of the estimates, on one core; how many cores share it is the engine's matter."""
    return f"\ntogether about {sum(float(row['est. s']) for row in rows):.0f} s on one core"


def _without_input(run: RunPlan) -> str:
    count = sum(item.staging is None for item in run.items)
    return f"{count} wait for tts" if count and run.record.audio.startswith("tts") else str(count)


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
