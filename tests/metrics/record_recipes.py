"""Record the recipe hashes of protocols: ``python tests/metrics/record_recipes.py [--changed ID …]``.

New ids are added. A recorded id whose recipe differs is refused: released numbers carry that id, so a changed
recipe takes a new one (``…@2``). ``--changed`` is for an id that no release has carried yet.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from bench import protocols, registry

RECORD = Path(__file__).parent / "protocol_recipes.json"
COMMAND = "python tests/metrics/record_recipes.py"


def declared() -> dict[str, str]:
    """Recipe hash by id, over this project's own metrics (others may be installed beside)."""
    found = {}
    for name in registry.names("metrics"):
        metric = registry.get("metrics", name)
        if metric.__module__.startswith("bench.metrics."):
            found |= {protocol.id: protocols.recipe_sha256(protocol) for protocol in metric.protocols}
    return dict(sorted(found.items()))


def recorded() -> dict[str, str]:
    """What the file says."""
    return json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.is_file() else {}


def problems(now: dict[str, str], then: dict[str, str]) -> list[str]:
    """One line per id that is new, changed or gone."""
    lines = [f"{pid} is not recorded: run `{COMMAND}`" for pid in now if pid not in then]
    lines += [
        f"{pid} has another recipe than when it was recorded: give the new one a new id "
        f"(or, if no release has carried it, `{COMMAND} --changed {pid}`)"
        for pid in now
        if pid in then and now[pid] != then[pid]
    ]
    lines += [
        f"{pid} is recorded and nobody declares it: it was lost, or take its line out" for pid in then if pid not in now
    ]
    return lines


def main(arguments: list[str]) -> int:
    """Write the file; 1 where a change is not allowed."""
    allowed = set(arguments[1:]) if arguments[:1] == ["--changed"] else set()
    now, then = declared(), recorded()
    refused = [pid for pid in now if pid in then and now[pid] != then[pid] and pid not in allowed]
    if refused:
        print("\n".join(line for line in problems(now, then) if line.split()[0] in refused), file=sys.stderr)
        return 1
    RECORD.write_text(json.dumps(dict(sorted({**then, **now}.items())), indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
