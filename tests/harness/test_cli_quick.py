"""The command line starts quickly, explains itself, and turns errors into two lines and an exit code."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from bench import cli

BENCH = [sys.executable, "-m", "bench"]


def run(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*BENCH, *arguments], capture_output=True, text=True, cwd=cwd, env={**os.environ, **environment}, check=False
    )


def test_the_command_line_imports_no_numeric_library() -> None:
    code = "import sys, bench.cli; print([m for m in ('torch', 'numpy', 'pandas', 'pydantic') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


@pytest.mark.parametrize("arguments", [["--help"], ["list"]])
def test_help_and_list_answer_at_once(arguments: list[str]) -> None:
    # processor time: what the wall clock shows on a machine that does nothing else; coverage is left out
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    taken = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([*BENCH, *arguments], stdout=subprocess.DEVNULL, env=environment, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(taken) < 0.5, taken


def test_list_imports_no_numeric_library() -> None:
    code = (
        "import sys; from bench.commands import catalogue as c\n"
        "[c.listing(g) for g in ('systems', 'metrics', 'datasets', 'protocols')]\n"
        "print([m for m in ('torch', 'numpy', 'pandas') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


WRONG = {
    "verb": (["rnu"], "rnu"),
    "option": (["run", "--sytem", "x"], "--sytem"),
    "no system": (["run"], "no system is named"),
    "system": (["run", "--system", "ground-turth"], "did you mean 'ground-truth'"),
    "dataset": (["run", "--system", "shuffled", "--dataset", "dmo"], "did you mean 'demo'"),
    "metric": (["run", "--system", "shuffled", "--metrics", "wre"], "did you mean 'wer'"),
    "task": (["run", "--system", "shuffled", "--task", "vtx"], "did you mean 'vts'"),
    "engine": (["run", "--system", "shuffled", "--engine", "locl"], "did you mean 'local'"),
    "limit": (["run", "--system", "shuffled", "--limit", "0"], "limit = 0"),
    "seed": (["run", "--system", "shuffled", "--seed", "-4"], "seed = -4"),
    "device": (["run", "--system", "shuffled", "--device", "tpu"], "cuda:N"),
    "info": (["info", "wer/pocketsphinx-grd@1"], "wer/pocketsphinx-grid@1"),
    "list": (["list", "sytems"], "did you mean 'systems'"),
    "shell": (["completion", "tcsh"], "did you mean"),
    "lrs3 root": (["run", "--system", "ground-truth", "--dataset", "lrs3", "--data-root", "absent"], "absent"),
    "setting": (["run", "--system", "shuffled", "--set", "voice=f2"], "no named system has it"),
    "outputs": (["run", "--system", "outputs"], "outputs:DIR"),
    "gateway": (["run", "--system", "gateway:wav2lop"], "wav2lip"),
    "split": (["run", "--system", "shuffled", "--split", "tset"], "did you mean 'test'"),
    "plugin": (["run", "--system", "x", "--plugin", "absent.py"], "no such file"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_usage_is_code_2_with_a_hint_and_no_trace(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, expected = WRONG[name]
    assert cli.invoke(arguments) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert "Traceback" not in error
    assert not (tmp_path / "bench-store").exists() or not list((tmp_path / "bench-store").glob("media/*"))


def test_debug_shows_the_trace(tmp_path: Path) -> None:
    found = run("run", "--system", "nobody", "--debug", cwd=tmp_path)
    assert found.returncode != 0 and "Traceback" in found.stderr


def test_version_and_completion() -> None:
    assert run("--version").stdout.startswith("bench ")
    for shell in ("bash", "zsh", "fish"):
        assert "_BENCH_COMPLETE" in run("completion", shell).stdout


def test_list_and_info_as_json() -> None:
    listed = json.loads(run("list", "--json").stdout)
    assert {"ground-truth", "shuffled", "espeak"} <= {row["name"] for row in listed["systems"]}
    found = json.loads(run("info", "ssim/skimage-gaussian@1", "--json").stdout)
    assert found["parameters"]["sigma"] == 1.5 and found["values"][0]["direction"] == "higher"


def test_doctor_fits_on_a_screen_and_names_a_remedy(tmp_path: Path) -> None:
    found = run("doctor", BENCH_CACHE=str(tmp_path))
    assert found.returncode == 0
    assert len(found.stdout.splitlines()) < 80
    assert "bench data make demo" in found.stdout
    assert "libx264 here" in found.stdout
