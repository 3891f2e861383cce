"""The ``tables:`` of a settings file: named blocks, each some systems under one condition, to be shown together.

A block is measured like a ``bench run`` of its own; what blocks share is generated once, since equal runs have equal
ids. This module holds the shape of a block, and everything that can be wrong with it before any work.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from bench import conditions, registry
from bench.errors import UsageError, did_you_mean
from bench.records import TASKS, Task

DEFAULT = "default"  # key of `metrics` for the data sets that have none of their own
Place = tuple[str | int, ...]  # keys and indices from the top of the file
_Item = TypeVar("_Item")


class Fault(Exception):
    """Something wrong at a place below a block."""

    def __init__(self, place: Place, text: str) -> None:
        super().__init__(text)
        self.place = place
        self.text = text


def _listed(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _entries(value: Any) -> Any:
    """A bare name stands for a system without settings of its own."""
    listed = _listed(value)
    return [{"system": one} if isinstance(one, str) else one for one in listed] if isinstance(listed, list) else listed


def _table(value: Any) -> Any:
    return f"Table {value}" if isinstance(value, int) else value


def _tables(value: Any) -> Any:
    """A single table stands for a list of one."""
    return [] if value is None else [value] if isinstance(value, dict) else value


_Names = Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)]


class Printed(BaseModel):
    """A table of a paper that stands beside a block; without ``setting`` all of it.

    Beside a block on a data set that the block's tables have rows of, those rows alone are shown.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    table: Annotated[str, BeforeValidator(_table)]
    setting: str | None = None


class Row(BaseModel):
    """A system of a block. What is not given is the block's; ``printed`` is what the paper calls it.

    ``set_on``: settings by data set, in the place of those of ``set`` there.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    system: str = Field(min_length=1)
    name: str = ""
    set: dict[str, Any] = Field(default_factory=dict)
    set_on: dict[str, dict[str, Any]] = Field(default_factory=dict)
    task: Task | None = None
    audio: Literal["real", "tts"] | None = None
    pairing: str | None = None
    reference: str | None = None
    optional: bool | None = None
    printed: str | None = None

    @property
    def label(self) -> str:
        """Its name in the table."""
        return self.name or self.system


class TableBlock(BaseModel):
    """One block. ``optional``: systems that cannot run here, and data sets that are not here, are left out with a line
    in place of an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)
    title: str = Field(min_length=1, max_length=300)
    note: str = ""
    systems: Annotated[list[Row], BeforeValidator(_entries), Field(min_length=1)]
    task: Task
    audio: Literal["real", "tts"] = "real"
    pairing: str = "matched"
    reference: str | None = None
    set: dict[str, Any] = Field(default_factory=dict)
    metrics: Annotated[dict[str, _Names] | list[str], BeforeValidator(_listed)] = Field(default_factory=list)
    published: Annotated[list[Printed], BeforeValidator(_tables)] = Field(default_factory=list)
    optional: bool = False

    def condition(self, row: Row) -> tuple[Task, str, str, str | None]:
        """Task, pairing, audio and reference of a row."""
        audio = row.audio or (self.audio if row.task in {None, self.task} else "real")
        return row.task or self.task, row.pairing or self.pairing, audio, row.reference or self.reference

    def may_be_absent(self, row: Row) -> bool:
        """Whether a row is left out where its system cannot run."""
        return self.optional if row.optional is None else row.optional

    def metrics_for(self, dataset: str) -> list[str]:
        """The metrics of a data set; empty: those of the settings."""
        if isinstance(self.metrics, dict):
            return self.metrics.get(dataset, self.metrics.get(DEFAULT, []))
        return self.metrics


class Tables:
    """The blocks of a file, each value with its line."""

    def __init__(self, path: Path, blocks: Sequence[TableBlock], lines: Mapping[Place, int]) -> None:
        self.path = path
        self.blocks = blocks
        self._lines = lines

    def origin(self, *place: str | int) -> str:
        """``file:line`` of a value below ``tables``."""
        return _origin(self.path, self._lines, place)


def _origin(path: Path, lines: Mapping[Place, int], place: Place) -> str:
    whole = ("tables", *place)
    found = next((lines[whole[:end]] for end in range(len(whole), 0, -1) if whole[:end] in lines), 1)
    return f"{path}:{found}"


def read(path: Path, value: Any, lines: Mapping[Place, int]) -> tuple[Tables, list[str]]:
    """The blocks whose shape is right, and a line for everything that is wrong."""
    if not isinstance(value, list) or not value:
        return Tables(path, [], lines), [f"{_origin(path, lines, ())}: tables: a list of blocks is expected"]
    blocks: list[TableBlock] = []
    problems: list[str] = []
    for index, one in enumerate(value):
        try:
            blocks.append(TableBlock.model_validate(one))
        except ValidationError as error:
            problems += [_shape(path, lines, index, item) for item in error.errors()]
    tables = Tables(path, blocks if not problems else [], lines)
    return tables, problems


def _shape(path: Path, lines: Mapping[Place, int], index: int, item: Any) -> str:
    """One pydantic error as ``file:line: field: message``."""
    place = tuple(part for part in item["loc"] if (("tables", index, part) in lines) or not _tag(part))
    where = ".".join(str(part) for part in place) or "a block"
    message = str(item["msg"]).removeprefix("Value error, ")
    begin = f"{_origin(path, lines, (index, *place))}: tables: "
    if item["type"] == "extra_forbidden":
        models: dict[str, type[BaseModel]] = {"systems": Row, "published": Printed}
        known = models.get(str(place[0]), TableBlock).model_fields if len(place) > 1 else TableBlock.model_fields
        return f"{begin}unknown key {place[-1]!r}. {did_you_mean(str(place[-1]), known)}"
    if item["type"] == "missing":
        return f"{begin}{where} is missing"
    if item["type"] == "literal_error":
        choices = TASKS if place[-1] == "task" else ("real", "tts")
        return f"{begin}{where} = {item['input']!r}. {did_you_mean(str(item['input']), choices)}"
    shown = repr(item.get("input"))
    return f"{begin}{where} = {shown if len(shown) <= _SHOWN else shown[:_SHOWN] + '…'}: {message}"


_SHOWN = 120  # characters of a wrong value in a message


def _tag(part: str | int) -> bool:
    """Whether pydantic added this part of a place for a branch of a union."""
    return isinstance(part, str) and ("[" in part or part in {"list", "dict", "str"})


def options_of(system: str) -> list[str]:
    """The settings that a system named as on a command line has; none where it is unknown."""
    try:
        model = registry.get("systems", system.partition(":")[0]).options()
    except UsageError:
        return []
    return list(model.model_fields) if model is not None else []


def used_settings(blocks: Iterable[TableBlock], shared: Mapping[str, Any]) -> set[str]:
    """Those of the shared settings that concern a row, the system that speaks, or the harness."""
    systems = [row.system for block in blocks for row in block.systems]
    systems += [str(found["tts_system"]) for found in (shared, *(b.set for b in blocks)) if "tts_system" in found]
    return {key for key in shared if any(concerns(key, system) for system in systems)}


def concerns(key: str, system: str) -> bool:
    """Whether a key of ``--set`` is the harness's, or an option of ``system``."""
    from bench.specs import HARNESS_KEYS

    owner, dot, option = key.rpartition(".")
    plugin = system.partition(":")[0]
    if dot and owner not in {plugin, system}:
        return False
    return option in HARNESS_KEYS or option in options_of(system)


def refused_options(origins: Mapping[str, str], path: Path) -> list[str]:
    """Settings that the blocks themselves say: elsewhere they could only mean all blocks, and make them one."""
    return [
        f"{origins[name]}: {name} is what each block of {path} says for itself: leave it out, or change the file"
        for name in ("system", "task", "audio", "pairing", "reference")
        if name in origins
    ]


def condition_of(block: TableBlock, row: Row) -> str | None:
    """Why a row's condition means nothing for its task; ``None``: it does."""
    task, pairing, audio, reference = block.condition(row)
    named = reference if reference in {None, *conditions.REFERENCES} or not Path(str(reference)).is_file() else None
    try:
        conditions.condition_for(task, pairing, audio, named)
    except UsageError as error:
        return f"{error.message}. {error.hint}"
    if pairing not in {"matched", "cross"} and not Path(pairing).is_file():
        return f"pairing {pairing!r} is neither a pairing nor a file. {did_you_mean(pairing, ['matched', 'cross'])}"
    return None
