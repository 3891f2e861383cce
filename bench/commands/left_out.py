"""What ``--metrics auto`` and ``all`` left out, and why: protocols that share a reason stand together."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Mapping, Sequence

from bench.protocols import Selection
from bench.records import MADE, TASKS, Protocol, Task

WIDTH = 118  # characters of a line of ids


def reasons(chosen: Selection, tasks: Collection[Task] = ()) -> dict[str, list[str]]:
    """Protocol ids by reason, with its remedy: first what can be mended, then what only papers print (``@0``).

    ``tasks``: those of the runs; where there are some, protocols that judge nothing of them are named too.
    """
    found = {pid: "; ".join(lines) for pid, lines in chosen.skipped.items()}
    if tasks:
        found |= {p.id: _unfit(p, tasks) for p in chosen.protocols if not any(p.applies_to(task) for task in tasks)}
    grouped: dict[str, list[str]] = {}
    for pid in sorted(found, key=lambda pid: (pid.endswith("@0"), pid)):
        grouped.setdefault(found[pid], []).append(pid)
    return grouped


def _unfit(protocol: Protocol, tasks: Collection[Task]) -> str:
    able = [task for task in TASKS if protocol.applies_to(task)]
    streams = (" or " if protocol.judges_either else " and ").join(sorted(protocol.judges)) or "nothing"
    made = " and ".join(sorted({stream for task in tasks for stream in MADE[task]}))
    remedy = f"--task {' or '.join(able)}" if able else "no task makes both"
    return f"judges {streams} of the output, and {', '.join(tasks)} makes {made} alone: {remedy}"


def text(grouped: Mapping[str, Sequence[str]], title: str) -> str:
    """One block: each reason with the ids that it keeps from having a number; ``""`` for none."""
    if not grouped:
        return ""
    lines = [f"{title} ({sum(map(len, grouped.values()))} protocols):"]
    for reason, ids in grouped.items():
        lines += [f"  {reason}", *_wrapped(ids)]
    return "\n".join(lines)


def _wrapped(ids: Sequence[str]) -> list[str]:
    return textwrap.wrap(
        ", ".join(ids),
        WIDTH,
        initial_indent="    ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
