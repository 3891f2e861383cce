"""The parts of ``make speed`` run; their figures are for people, the equality of numbers is held here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

LIGHT = {"overhead", "scoring", "rows", "memory", "start", "costs", "pieces", "networks"}


def lines(target: Path, *parts: str) -> list[dict[str, Any]]:
    """The benchmark's lines in its smallest form."""
    script = Path(__file__).with_name("run.py")
    command = [sys.executable, str(script), "--tiny", "--json", str(target), *parts]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(target.read_text())["lines"]
    return found


def test_every_part_runs_and_one_pass_gives_the_naive_numbers(tmp_path: Path) -> None:
    found = lines(tmp_path / "speed.json", *sorted(LIGHT))
    assert {line["part"] for line in found} == LIGHT
    assert all(line["value"] > 0 or line["what"] == "skipped" for line in found if line["part"] != "memory")


def test_the_report_s_sizes_and_times_are_measured(tmp_path: Path) -> None:
    found = lines(tmp_path / "speed.json", "report")
    assert {line["part"] for line in found} == {"report"}
    assert found[0]["what"] == "skipped" or all(line["value"] > 0 for line in found)


@pytest.mark.slow  # six processes that load torch and search a clip for faces
def test_batches_of_speech_and_faces_are_what_the_plain_loop_makes(tmp_path: Path) -> None:
    found = lines(tmp_path / "speed.json", "hierspeech")
    assert {line["part"] for line in found} == {"hierspeech"}
    assert found[0]["what"] == "skipped" or all(line["value"] > 0 for line in found)


@pytest.mark.slow  # seven processes that load torch, three of which search clips for faces and draw them
def test_rows_of_a_batch_are_what_the_official_loop_makes(tmp_path: Path) -> None:
    found = lines(tmp_path / "speed.json", "talker")
    assert {line["part"] for line in found} == {"talker"}
    assert found[0]["what"] == "skipped" or all(line["value"] > 0 for line in found)


@pytest.mark.slow  # four processes that load torch, one of which denoises a clip in 64 steps by the plain loop
def test_tokens_of_a_batch_are_what_the_plain_loop_draws(tmp_path: Path) -> None:
    found = lines(tmp_path / "speed.json", "hicodit")
    assert {line["part"] for line in found} == {"hicodit"}
    assert all(line["value"] > 0 for line in found)


@pytest.mark.slow  # loads every canonical network a dozen times
def test_one_pass_of_the_canonical_metrics_gives_the_numbers_of_the_reference_way(tmp_path: Path) -> None:
    found = lines(tmp_path / "speed.json", "canonical")
    assert {line["part"] for line in found} == {"canonical"}
    assert found[0]["what"] == "skipped" or all(line["value"] > 0 for line in found)
