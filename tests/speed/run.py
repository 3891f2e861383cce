"""``make speed``: what the harness costs and saves, as ratios and times. Not a test: nothing fails on a slow machine.

python tests/speed/run.py [overhead] [scoring] [rows] [memory] [start] [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import speed_memory
import speed_overhead
import speed_rows
import speed_scoring
import speed_start
from speed_kit import Options, machine, render

PARTS = {
    "overhead": speed_overhead.run,
    "scoring": speed_scoring.run,
    "rows": speed_rows.run,
    "memory": speed_memory.run,
    "start": speed_start.run,
}


def main(arguments: list[str]) -> None:
    """Run the named parts (all by default) and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all by default")
    parser.add_argument("--quick", action="store_true", help="fewer clips and rounds")
    parser.add_argument("--tiny", action="store_true", help="as few as show that it runs; the figures mean nothing")
    parser.add_argument("--json", type=Path, help="write the lines here too")
    given = parser.parse_args(arguments)
    facts = machine()
    print("; ".join(f"{name} {value}" for name, value in facts.items()), flush=True)
    lines = []
    for name in given.parts or PARTS:
        found = PARTS[name](Options(given.quick, given.tiny))
        lines += found
        print(f"\n{render(found)}", flush=True)
    if given.json:
        given.json.write_text(json.dumps({"machine": facts, "lines": [asdict(line) for line in lines]}, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
