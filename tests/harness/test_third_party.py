"""A plug-in of another distribution is found by its entry point, as ours are, and runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_an_installed_distribution_brings_its_system(talks: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "installed"
    shutil.copytree(HERE / "third_party", source)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*install, "--target", str(target), str(source)], check=True)
    environment = {**os.environ, "PYTHONPATH": str(target)}

    def bench(*arguments: str) -> str:
        command = [sys.executable, "-m", "bench", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "third-party-silence" in bench("list", "systems")
    shown = bench(
        "run",
        "--system",
        "third-party-silence",
        "--dataset",
        "folder",
        "--data-root",
        str(talks),
        "--metrics",
        "duration",
    )
    assert "third-party-silence" in shown
