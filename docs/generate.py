"""Parts of the site that the program itself knows: hooks that MkDocs calls.

A line ``<!-- generated: NAME -->`` of a page is replaced by what :data:`PARTS` makes under that name, from the
registry, the command line and CONTRIBUTING.md, so that no page repeats by hand what the code declares.
"""

from __future__ import annotations

import atexit
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority

from bench import registry
from bench.cli import app
from bench.commands.catalogue import info, listing
from bench.protocols import Catalogue, catalogue, recipe_sha256
from bench.records import FAILURE_KINDS, Protocol, Value

ROOT = Path(__file__).resolve().parents[1]
ARROWS = {"higher": "higher is better", "lower": "lower is better", "zero": "nearer to 0 is better"}
STATUS = {
    "offline-canonical": "the papers' own recipe; runs without files of yours",
    "offline-real": "a real measurement with a recipe of this project; runs without files of yours",
    "needs-weights": "the papers' own recipe; needs weight files that you bring",
    "listeners": "what people say in a study",
}
_MARK = re.compile(r"^<!-- generated: ([\w-]+) -->$", re.MULTILINE)


@event_priority(100)  # before the plug-in that reads the sources looks where they are
def on_config(config: MkDocsConfig) -> None:
    """Give the reference a copy of the sources in which ``bench/results`` is a package: of links nothing is read."""
    copy = Path(tempfile.mkdtemp(prefix="bench-docs-"))
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    shutil.copytree(ROOT / "bench", copy / "bench", ignore=_no_source)
    (copy / "bench" / "results" / "__init__.py").touch()
    config.plugins["mkdocstrings"].config.handlers["python"]["paths"] = [str(copy)]


def _no_source(folder: str, names: list[str]) -> list[str]:
    """Those of the names in a folder that are neither Python nor folders."""
    return [name for name in names if not name.endswith(".py") and not (Path(folder) / name).is_dir()]


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page with its generated parts; called by MkDocs.

    Raises:
        KeyError: a page asks for a part that nobody makes.
    """
    return _MARK.sub(lambda found: PARTS[found[1]](), markdown)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(cell(text) for text in row) + " |" for row in rows])


def cell(text: object) -> str:
    """Text as the cell of a table: one line, no HTML, no column of its own."""
    plain = " ".join(str(text).split())
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace("|", "&#124;")


def code(text: object) -> str:
    """Text in the font of code, for a cell."""
    return f"`{text}`"


# --------------------------------------------------------------------------- protocols


def protocols() -> str:
    """One section per family, one block per protocol."""
    known = catalogue()
    lines: list[str] = []
    for family, ids in known.families().items():
        lines.append(f"## {family}")
        lines += [_protocol(known, pid) for pid in ids]
    return "\n\n".join(lines)


def _protocol(known: Catalogue, pid: str) -> str:
    protocol = known.entries[pid].protocol
    facts = [(name, told) for name, told in _facts(known, protocol) if told]
    parts = [f"### {pid}", table(["column", "direction", "unit", "range", "of a set"], map(_value, protocol.values))]
    parts.append("\n".join(f"- **{name}**: {told}" for name, told in facts))
    if protocol.parameters:
        parameters = ((code(name), code(json.dumps(v, default=_plain))) for name, v in protocol.parameters.items())
        parts.append(table(["parameter", "value"], parameters))
    return "\n\n".join(parts)


def _facts(known: Catalogue, protocol: Protocol) -> Iterator[tuple[str, str]]:
    yield "status", f"{protocol.status}: {STATUS.get(protocol.status, '')}".strip(": ")
    yield "metric", code(known.entries[protocol.id].metric) + (", part of `auto`" if protocol.default else "")
    yield "judges", ", ".join(sorted(protocol.judges)) + (" (either)" if protocol.judges_either else "")
    yield "reads", ", ".join(sorted(protocol.needs)).replace("_", " ")
    yield "fails with", ", ".join(map(code, protocol.failures))
    yield "weights", ", ".join(f"{code(weight.name)} ({cell(weight.licence)})" for weight in protocol.weights)
    yield "printed in", cell(", ".join(protocol.used_by))
    yield "source", cell(protocol.source)
    yield "note", cell(protocol.note)
    yield "recipe", code(recipe_sha256(protocol)[:16])


def _value(value: Value) -> list[str]:
    label = value.label + ("" if value.headline else " (tidy formats only)")
    limits = f"{value.low:g} to {value.high:g}".replace("inf", "∞")
    how = {"mean": "mean over clips", "corpus": "of the whole set", "ratio": "ratio of sums over clips"}
    return [label, ARROWS[value.direction], value.unit, limits, how[value.aggregation.kind]]


def _plain(value: Any) -> Any:
    """Containers of a protocol's parameters that JSON does not know."""
    return sorted(value) if isinstance(value, frozenset | set) else dict(value)


def absent() -> str:
    """Protocols under which papers print numbers and that nobody can compute here."""
    return table(
        ["protocol", "columns", "why", "what to do"],
        [[code(e.id), ", ".join(e.labels), e.reason, e.remedy] for e in catalogue().absent.values()],
    )


def failures() -> str:
    """The kinds of failure."""
    return ", ".join(map(code, FAILURE_KINDS)) + "."


# --------------------------------------------------------------------------- plug-ins


def systems() -> str:
    """Every system that is installed, with its settings."""
    rows = [
        [code(row["name"]), row.get("tasks", ""), row.get("tier", ""), row["summary"]] for row in listing("systems")
    ]
    details = "\n\n".join(_system(name) for name in registry.names("systems"))
    return table(["system", "tasks", "tiers", "what it is"], rows) + "\n\n" + details


def _system(name: str) -> str:
    found = info(name)
    parts = [f"## {name}", cell(found["about"]) + f" Licence: {cell(found['licence'])}."]
    settings: Mapping[str, str] = found["settings"]
    if settings:
        parts.append(table(["`--set`", "meaning"], [[code(key), told] for key, told in settings.items()]))
    if found["stages"]:
        parts.append(f"`bench train {name} --stage …`: {', '.join(map(code, found['stages']))}.")
    differences: Mapping[str, str] = found["where paper and code differ"]
    if differences:
        rows = [[key, told] for key, told in differences.items()]
        parts.append(table(["where paper and code differ", "what runs here"], rows))
    return "\n\n".join(parts)


def datasets() -> str:
    """Every data set that is installed."""
    parts = []
    for name in registry.names("datasets"):
        found = info(name)
        parts.append(f"## {name}\n\n{cell(found['about'])}")
        facts = [(key, found[key]) for key in ("splits", "tasks", "licence", "notice")]
        parts.append("\n".join(f"- **{key}**: {cell(told)}" for key, told in facts if told))
    return "\n\n".join(parts)


def contributing() -> str:
    """CONTRIBUTING.md below its heading."""
    return (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("\n", 1)[1].strip()


# --------------------------------------------------------------------------- command line


def commands() -> str:
    """Every verb with its arguments and options."""
    import typer

    return "\n\n".join(_verbs(typer.main.get_command(app), "bench"))


def _verbs(command: Any, path: str) -> Iterator[str]:
    inner: Mapping[str, Any] = getattr(command, "commands", {})
    if not inner:
        yield f"## {path}\n\n{(command.help or '').strip()}\n\n{_options(command)}"
    for name, one in inner.items():
        yield from _verbs(one, f"{path} {name}")


def _options(command: Any) -> str:
    rows = []
    for one in command.params:
        names = [*one.opts, *one.secondary_opts] if one.opts[0].startswith("-") else [one.name.rstrip("_").upper()]
        rows.append([", ".join(map(code, names)), ("required. " if one.required else "") + (one.help or "")])
    return table(["argument or option", "meaning"], rows) if rows else ""


PARTS: Mapping[str, Callable[[], str]] = {
    "absent": absent,
    "commands": commands,
    "contributing": contributing,
    "datasets": datasets,
    "failures": failures,
    "protocols": protocols,
    "systems": systems,
}
