"""The settings of a run: read from command line, environment and YAML, validated before any work.

Precedence: command line > environment (``BENCH_<NAME>``) > YAML file > default. All errors are
reported at once, each with where it came from, what was given, and what is possible.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from bench.errors import UsageError, did_you_mean
from bench.records import Task
from bench.yaml_settings import read_lines, read_yaml

if TYPE_CHECKING:
    from bench.blocks import Tables

Origin = Literal["command line", "environment", "file", "default"]


def _listed(value: Any) -> Any:
    """``a,b`` and repeated options become one flat list."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, list | tuple):
        return [part for item in value for part in (_listed(item) if isinstance(item, str) else [item])]
    return value


def _pairs(value: Any) -> Any:
    """``key=value`` strings become a mapping; the value is read as YAML scalar."""
    if isinstance(value, str):
        value = _listed(value)
    if not isinstance(value, list | tuple):
        return value
    pairs: dict[str, Any] = {}
    for item in value:
        key, sign, text = str(item).partition("=")
        if not sign or not key.strip():
            raise ValueError(f"{item!r} is not key=value")
        pairs[key.strip()] = _scalar(text.strip())
    return pairs


def _scalar(text: str) -> Any:
    lowered = text.lower()
    if lowered in {"true", "false"}:
        return lowered == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


Names = Annotated[list[str], BeforeValidator(_listed)]


class RunSettings(BaseModel):
    """Everything that ``bench run``, ``generate`` and ``score`` can be told."""

    model_config = ConfigDict(extra="forbid")

    system: Names = Field(default_factory=list, description="systems, comma separated")
    dataset: Names = Field(default_factory=lambda: ["demo"], description="data sets, comma separated")
    split: str | None = Field(None, description="split of the data set")
    task: Annotated[list[Task], BeforeValidator(_listed)] = Field(default_factory=list, description="tasks")
    pairing: str = Field("matched", description="matched, cross, or a file of pairs")
    audio: Literal["real", "tts"] = Field("real", description="driving audio of a2v")
    reference: str | None = Field(None, description="none, same, other, external or a mapping file")
    metrics: Names = Field(default_factory=lambda: ["auto"], description="auto, all, families or protocol ids")
    limit: int | None = Field(None, ge=1, description="at most so many clips of the split")
    clips: str | None = Field(None, description="clip ids or globs, comma separated, or @FILE")
    seed: int = Field(0, ge=0, le=2**63 - 1, description="seed of the run")
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda or cuda:N")
    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="number format of networks")
    batch_size: int = Field(8, ge=1, le=4096, description="requests per batch")
    workers: int | None = Field(None, ge=0, le=1024, description="worker processes; 0: in this process")
    engine: str = Field("local", description="where work runs: local or ray")
    ray_address: str | None = Field(None, description="auto or HOST:PORT of a Ray cluster that runs")
    gpus_per_worker: float | None = Field(None, ge=0, le=64, description="GPUs, or the share of one, per Ray worker")
    set: Annotated[dict[str, Any], BeforeValidator(_pairs)] = Field(default_factory=dict, description="settings")
    data_root: Path | None = Field(None, description="root of the data set, or its parent")
    out: Path = Field(Path("bench-store"), description="folder of the store")
    media_root: Path | None = Field(None, description="folder for outputs by their content, which stores may share")
    timeout: float = Field(600.0, gt=0, le=86_400, description="seconds that one unit may take")
    retry: int = Field(3, ge=1, le=20, description="attempts per unit when workers are lost")
    force: bool = Field(False, description="do the selected clips anew")
    dry_run: bool = Field(False, description="print the plan and stop")
    strict: bool = Field(False, description="any failure is exit code 1")
    published: bool = Field(False, description="papers' numbers below the tables")
    save: Path | None = Field(None, description="folder for the tables as Markdown, CSV and JSON")
    plugin: Annotated[list[Path], BeforeValidator(_listed)] = Field(default_factory=list, description="plug-in files")


@dataclass(frozen=True)
class Effective:
    """Validated settings and where each value came from.

    ``tables`` are the blocks of a file that has some; ``row`` names the row of a block that the settings are for.
    """

    settings: RunSettings
    origins: Mapping[str, str]
    tables: Tables | None = None
    row: str = ""

    def record(self) -> dict[str, Any]:
        """What is stored with a run: value and origin of every setting, as JSON types."""
        values = self.settings.model_dump(mode="json")
        found = {name: {"value": value, "from": self.origins.get(name, "default")} for name, value in values.items()}
        return found | ({"row": {"value": self.row, "from": self.origins.get("row", "default")}} if self.row else {})

    def narrowed(self, row: str, origin: str, **values: Any) -> Effective:
        """The same with other values, for one row of a block."""
        origins = {**self.origins, **dict.fromkeys([*values, "row"], origin)}
        return replace(self, settings=self.settings.model_copy(update=values), origins=origins, row=row)


def effective(
    given: Mapping[str, Any],
    config: Path | None = None,
    environ: Mapping[str, str] | None = None,
    load_plugins: Callable[[list[Path]], None] | None = None,
) -> Effective:
    """Merge and validate.

    ``given`` holds the options of the command line; ``None`` means not given. ``load_plugins`` is called with the
    plug-in files before names are looked up.

    Raises:
        UsageError: with every error found, one line each.
    """
    known = list(RunSettings.model_fields)
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    problems: list[str] = []
    tables: Any = None
    for origin, source in _sources(given, config, os.environ if environ is None else environ):
        for name, value in source.items():
            key = name.replace("-", "_")
            where = f"{origin}:{value[1]}" if origin == str(config) else origin
            if key == "tables" and origin == str(config):
                tables = value
                continue
            if key not in known:
                listing = did_you_mean(name, [*(k.replace("_", "-") for k in known), "tables"], "bench run --help")
                problems.append(f"{where}: unknown setting {name!r}. {listing}")
                continue
            values[key] = value[0] if origin == str(config) else value
            origins[key] = where
    try:
        settings = RunSettings(**values)
    except ValidationError as error:
        problems += [_problem(item, origins) for item in error.errors()]
        settings = RunSettings()
    if load_plugins is not None:
        load_plugins(settings.plugin)
    blocks = None
    if tables is not None and config is not None:
        blocks, wrong = _blocks(config, tables[0], settings, origins)
        problems += wrong
    if problems:
        raise UsageError(
            f"{len(problems)} problem{'s' if len(problems) > 1 else ''} in the settings:\n  " + "\n  ".join(problems),
            "`bench run --help` describes every setting.",
        )
    return Effective(settings, origins, blocks)


def _blocks(config: Path, value: Any, settings: RunSettings, origins: Mapping[str, str]) -> tuple[Tables, list[str]]:
    """The blocks of a file and everything that is wrong with them."""
    from bench import block_names, blocks

    tables, problems = blocks.read(config, value, read_lines(config))
    problems += blocks.refused_options(origins, config)
    return tables, problems + block_names.check(tables, settings.set)


def _sources(
    given: Mapping[str, Any], config: Path | None, environ: Mapping[str, str]
) -> list[tuple[str, Mapping[str, Any]]]:
    """From weakest to strongest."""
    sources: list[tuple[str, Mapping[str, Any]]] = []
    if config is not None:
        sources.append((str(config), read_yaml(config)))
    variables = {f"BENCH_{name.upper()}": name for name in RunSettings.model_fields}
    for variable, name in variables.items():
        if environ.get(variable):
            sources.append((f"environment {variable}", {name: environ[variable]}))
    sources.append(("command line", {name: value for name, value in given.items() if value not in (None, [], ())}))
    return sources


def _problem(item: Any, origins: Mapping[str, str]) -> str:
    """One pydantic error as a line: where, which setting, what was given, what is possible."""
    name = str(item["loc"][0]) if item["loc"] else "settings"
    option = name.replace("_", "-")
    message = str(item["msg"]).removeprefix("Value error, ")
    value = item.get("input")
    context = item.get("ctx") or {}
    hint = ""
    if "expected" in context and isinstance(value, str):
        choices = [part.strip(" '") for part in str(context["expected"]).replace(" or ", ",").split(",")]
        near = did_you_mean(value, choices)
        hint = f"; {near}" if near.startswith("did you mean") else ""
    elif name in _RANGES:
        hint = f" (possible: {_RANGES[name]})"
    shown = repr(value)
    shown = shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "…"
    return f"{origins.get(name, 'default')}: {option} = {shown}: {message}{hint}"


_SHOWN = 200  # characters of a wrong value in a message


_RANGES = {
    "limit": "1 or more",
    "seed": "0 to 2^63 - 1",
    "batch_size": "1 to 4096",
    "workers": "0 to 1024",
    "gpus_per_worker": "0 to 64",
    "timeout": "more than 0, at most 86400 seconds",
    "retry": "1 to 20",
    "device": "auto, cpu, cuda, cuda:N",
}
