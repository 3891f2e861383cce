"""The parts of ``make speed`` run; their figures are for people, the equality of numbers is held here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_every_part_runs_and_one_pass_gives_the_naive_numbers(tmp_path: Path) -> None:
    target = tmp_path / "speed.json"
    script = Path(__file__).with_name("run.py")
    done = subprocess.run(
        [sys.executable, str(script), "--tiny", "--json", str(target)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(target.read_text())
    assert {line["part"] for line in found["lines"]} == {"overhead", "scoring", "rows", "memory", "start"}
    assert all(line["value"] > 0 or line["what"] == "skipped" for line in found["lines"] if line["part"] != "memory")
