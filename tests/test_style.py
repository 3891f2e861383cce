"""The project's own rules of size and honesty, held on its source."""

from __future__ import annotations

import ast
import re
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("bench", "systems", "metrics", "datasets", "results")
MAX_FILE = 400  # lines
MAX_FUNCTION = 60  # lines, docstring included


def sources() -> list[Path]:
    found = []
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            linked = any((ROOT / folder / part).is_symlink() for part in path.relative_to(ROOT / folder).parts[:1])
            if not linked:
                found.append(path)
    return found


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def test_files_and_functions_are_short() -> None:
    lengths: list[int] = []
    too_long: list[str] = []
    for path in sources():
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > MAX_FILE:
            too_long.append(f"{path.relative_to(ROOT)}: {text.count(chr(10))} lines")
        for node in functions(ast.parse(text)):
            lengths.append(length(node))
            if lengths[-1] > MAX_FUNCTION:
                too_long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {lengths[-1]} lines")
    assert not too_long
    assert statistics.median(lengths) <= 12
    assert statistics.quantiles(lengths, n=10)[-1] <= 30


@pytest.mark.parametrize(
    "pattern",
    [
        r"\bpickle\.load",
        r"weights_only\s*=\s*False",
        r"\byaml\.load\(",
        r"shell\s*=\s*True",
        r"\bNotImplementedError\b",
        r"\b(TODO|FIXME|XXX)\b",
        r"^\s*except\s*:",
        r"np\.random\.(seed|rand|randn|randint|shuffle|choice)\(",
    ],
)
def test_what_has_no_place_in_the_source(pattern: str) -> None:
    hits = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in sources()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(pattern, line)
    ]
    assert not hits


def test_every_dependency_has_its_reason_in_the_readme() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = [
        *project["dependencies"],
        *(d for key in ("demo", "cuda", "iqa", "ray") for d in project["optional-dependencies"][key]),
    ]
    table = (ROOT / "README.md").read_text(encoding="utf-8").split("## Dependencies")[1]
    missing = [name for d in named if (name := re.split(r"[<>=]", d)[0]) not in table]
    assert not missing
