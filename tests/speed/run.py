"""``make speed``: what the harness costs and saves, as ratios and times. Not a test: nothing fails on a slow machine.

python tests/speed/run.py [PART …] [--quick] [--json FILE]; parts: see below, all but ``canonical`` by default, which
takes hours in full (32 clips through the reference scripts' way) and half an hour with ``--quick``.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import speed_canonical
import speed_costs
import speed_hicodit
import speed_hier
import speed_memory
import speed_networks
import speed_overhead
import speed_pieces
import speed_report
import speed_rows
import speed_scoring
import speed_start
import speed_talker
from speed_kit import Options, machine, render

PARTS = {
    "overhead": speed_overhead.run,
    "scoring": speed_scoring.run,
    "rows": speed_rows.run,
    "memory": speed_memory.run,
    "start": speed_start.run,
    "costs": speed_costs.run,
    "report": speed_report.run,
    "pieces": speed_pieces.run,
    "networks": speed_networks.run,
    "hierspeech": speed_hier.run,
    "talker": speed_talker.run,
    "hicodit": speed_hicodit.run,
    "canonical": speed_canonical.run,
}


def main(arguments: list[str]) -> None:
    """Run the named parts (all but ``canonical`` by default) and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all but canonical by default")
    parser.add_argument("--quick", action="store_true", help="fewer clips and rounds")
    parser.add_argument("--tiny", action="store_true", help="as few as show that it runs; the figures mean nothing")
    parser.add_argument("--json", type=Path, help="write the lines here too")
    given = parser.parse_args(arguments)
    facts = machine()
    print("; ".join(f"{name} {value}" for name, value in facts.items()), flush=True)
    lines = []
    for name in given.parts or [name for name in PARTS if name != "canonical"]:
        found = PARTS[name](Options(given.quick, given.tiny))
        lines += found
        print(f"\n{render(found)}", flush=True)
    if given.json:
        given.json.write_text(json.dumps({"machine": facts, "lines": [asdict(line) for line in lines]}, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
