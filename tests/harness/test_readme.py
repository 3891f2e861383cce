"""The commands that README shows are run, in its order, as a reader would."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from bench import cli
from bench.datasets.demo.make import make_corpus
from bench.planning import open_dataset

sys.path.insert(0, str(Path(__file__).parents[1] / "datasets"))
from trees import make_tree

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block_commands() -> list[list[str]]:
    """``.venv/bin/bench …`` lines of the code blocks."""
    return [shlex.split(line)[1:] for line in re.findall(r"^\.venv/bin/bench .*$", README, re.MULTILINE)]


def inline_commands() -> list[list[str]]:
    """`bench … --data-root DIR` in the text: the steps for LRS3."""
    found = re.findall(r"`bench ([^`]*--data-root DIR)`", README)
    return [shlex.split(" ".join(command.split())) for command in found]


def test_the_commands_for_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = open_dataset("demo", None).root
    assert corpus is not None
    make_corpus(corpus, splits=["test"], workers=1)
    monkeypatch.chdir(tmp_path)
    commands = block_commands()
    assert [command[0] for command in commands] == ["run", "leaderboard", "compare", "export", "doctor"]
    for command in commands:
        assert cli.invoke(command) == 0, command
    assert (tmp_path / "scores.csv").read_text().count("\n") > 20


def test_the_steps_for_lrs3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("BENCH_METRICS", "duration,ssim/skimage-gaussian@1")
    monkeypatch.setenv("BENCH_LIMIT", "2")
    make_tree("lrs3", tmp_path / "lrs3")
    outputs = tmp_path / "mine"
    for clip in (tmp_path / "lrs3" / "test").rglob("*.mp4"):
        target = outputs / clip.relative_to(tmp_path / "lrs3")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, target)
    commands = inline_commands()
    assert [command[:1] for command in commands] == [["data"], ["run"], ["run"]]
    for command in commands:
        replaced = [part.replace("DIR", str(tmp_path / "lrs3")).replace("MINE", str(outputs)) for part in command]
        assert cli.invoke(replaced) == 0, command


def test_every_bench_verb_of_the_readme_exists() -> None:
    import typer

    known = set(typer.main.get_command(cli.app).commands)  # type: ignore[attr-defined]
    for verb in re.findall(r"`bench ([a-z]+)", README):
        assert verb in known, verb


def test_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"(?:^|`|run: )make ([a-z-]+)", README, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
