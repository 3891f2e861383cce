"""Every command that a page of the documentation shows has a verb and options that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from bench.cli import app

PAGES = sorted((Path(__file__).parents[2] / "docs").glob("*.md"))


def blocks(text: str) -> str:
    """The code blocks of a page, continued lines joined."""
    found = re.findall(r"^```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^    .+$", text, re.MULTILINE)
    return "\n".join([*found, *(line.strip() for line in indented)]).replace("\\\n", " ")


def commands(page: Path) -> list[list[str]]:
    """The words of each `bench …` line of the page's code."""
    code = blocks(page.read_text(encoding="utf-8"))
    lines = re.findall(r"^(?:[$] |srun .*?)?(?:\.venv/bin/)?bench (.+)$", code, re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines]


def faults(words: list[str]) -> list[str]:
    """What of a command does not exist."""
    command: Any = typer.main.get_command(app)
    rest = list(words)
    while getattr(command, "commands", None):
        verb = rest.pop(0)
        if verb not in command.commands:
            return [f"no verb {verb!r} in {shlex.join(words)}"]
        command = command.commands[verb]
    known = {name for one in command.params for name in [*one.opts, *one.secondary_opts]} | {"-q", "-v"}
    asked = [word.split("=")[0] for word in rest if re.fullmatch(r"--?[a-z][\w-]*(=.*)?", word)]
    return [f"no option {name} in {shlex.join(words)}" for name in asked if name not in known]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_page_exist(page: Path) -> None:
    assert [fault for words in commands(page) for fault in faults(words)] == []


def test_commands_are_found_at_all() -> None:
    found = {page.stem: len(commands(page)) for page in PAGES}
    assert min(found[name] for name in ("index", "report", "studies", "interchange", "unseen_speaker")) >= 2


def test_faults_are_found() -> None:
    assert faults(["leaderbord"]) == ["no verb 'leaderbord' in leaderbord"]
    assert faults(["export", "x.csv", "--fromat", "csv"]) == ["no option --fromat in export x.csv --fromat csv"]
    assert faults(["runs", "show", "abc", "--out", "x"]) == []
