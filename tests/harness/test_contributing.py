"""The examples of CONTRIBUTING.md are complete: they run as plug-in files, from system to table."""

from __future__ import annotations

import csv
import re
import shutil
from pathlib import Path

import pytest

from bench import cli

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code blocks that begin with a file name, as files."""
    folder = tmp_path_factory.mktemp("examples")
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    found = re.findall(r"```python\n# (\w+\.py)\n(.*?)```", text, re.DOTALL)
    assert {name for name, _ in found} == {"hum.py", "loudness.py", "talks.py"}
    for name, body in found:
        (folder / name).write_text(body, encoding="utf-8")
    return folder


def test_the_examples_run_from_system_to_table(examples: Path, talks: Path, tmp_path: Path) -> None:
    flat = tmp_path / "talks"
    flat.mkdir()
    for path in talks.glob("*/*"):
        shutil.copy(path, flat / f"{path.parent.name}-{path.name}")
    plugins = [part for name in ("hum", "loudness", "talks") for part in ("--plugin", str(examples / f"{name}.py"))]
    store = tmp_path / "store"
    arguments = ["run", "--system", "hum,ground-truth", "--dataset", "talks", "--data-root", str(flat), "--task", "vts"]
    assert cli.invoke([*arguments, "--metrics", "loudness,duration", "--out", str(store), *plugins]) == 0
    target = tmp_path / "table.csv"
    assert cli.invoke(["leaderboard", "--out", str(store), "-f", "csv", "--save", str(target), *plugins]) == 0
    rows = list(csv.DictReader(target.open(encoding="utf-8")))
    value = {(row["system"], row["protocol"]): float(row["value"]) for row in rows}
    assert value["ground-truth", "loudness/rms@1"] < 0.1 < 1 < value["hum", "loudness/rms@1"]
    assert all(row["n_scored"] == "10" and row["n_failed"] == "0" for row in rows)
