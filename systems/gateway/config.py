"""The YAML of a gateway: which command runs an official repository on a clip, and what it needs.

Commands are lists of arguments, run without a shell. Arguments, ``env``, ``list_line``, ``collect``
and ``collect_audio`` may hold placeholders in braces; a literal brace is doubled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from bench.api import TASKS, Task, UsageError, did_you_mean
from bench.yaml_settings import read_yaml

Post = Literal["crop_right_half", "fps25", "resize_to_input", "mux_audio", "trim_to_audio"]
#: What a placeholder stands for. Inputs are there where the task gives them.
PLACEHOLDERS: Mapping[str, str] = {
    "video": "the silent video of the clip (vts, dub), or the face (a2v, t2av): mp4",
    "image": "the face as a png, with `portrait: true`",
    "audio": "the driving audio: WAV, 16 kHz, mono",
    "voice": "the reference voice: WAV, 16 kHz, mono",
    "text": "the text itself",
    "text_file": "a UTF-8 file with the text on one line",
    "out": "where the output is expected: out.mp4 or out.wav",
    "stem": "the same without its extension",
    "job": "the job's folder",
    "checkout": "the folder of the official repository",
    "list": "the list file, in mode per_list",
    "index": "the number of the clip in the list, from 0",
    "seed": "the request's seed, below 2^31",
    "ckpt.NAME": "the path of the file NAME of `requires`",
}
_INPUTS: Mapping[Task, frozenset[str]] = {
    "vts": frozenset({"video", "voice"}),
    "dub": frozenset({"video", "voice", "text", "text_file"}),
    "a2v": frozenset({"video", "image", "audio"}),
    "t2av": frozenset({"video", "image", "voice", "text", "text_file"}),
    "tts": frozenset({"voice", "text", "text_file"}),
}
INPUTS = frozenset[str]().union(*_INPUTS.values())
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "csh", "tcsh", "fish", "cmd", "cmd.exe", "powershell", "pwsh"})
ADAPTERS = Path(__file__).with_name("adapters")


class Weight(BaseModel):
    """A file that the repository reads: ``path`` relative to the checkout (or absolute)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str = Field(min_length=1)
    official: str = Field(min_length=1, description="the official name of the file, and where its source names it")
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")


class Adapter(BaseModel):
    """One gateway. ``unavailable`` holds the reason why there is nothing to call."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    kind: Literal["gateway"]
    version: str = "1"
    summary: str = ""
    source: str = ""
    licence: str = ""
    note: str = ""
    unavailable: str = ""
    tasks: tuple[Task, ...] = ()
    uses: tuple[Literal["voice", "identity"], ...] = ()
    portrait: bool = False
    deterministic: bool = True
    checkout: str = ""  # a folder under $BENCH_GATEWAYS (default: the name), or a path with ./, ../ or / before it
    python: str = "python"
    workdir: Literal["per_job", "checkout"] = "per_job"
    link: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    env: dict[str, str] = Field(default_factory=dict)
    command: tuple[str, ...] = ()
    mode: Literal["per_clip", "per_list"] = "per_clip"
    list_line: str = ""
    requires: dict[str, Weight] = Field(default_factory=dict)
    gpu: Literal["required", "optional"] = "optional"
    timeout_s: float = Field(default=540.0, gt=0, le=86_400)  # per clip, also in a list
    retries: int = Field(default=0, ge=0, le=10)
    collect: str = ""
    collect_audio: str = ""
    post: tuple[Post, ...] = ()

    @field_validator("link", "folders")
    @classmethod
    def _inside(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            path = Path(name)
            if path.is_absolute() or ".." in path.parts or not path.parts:
                raise ValueError(f"{name!r} must be a relative path that stays inside")
        return names

    @field_validator("command")
    @classmethod
    def _no_shell(cls, command: tuple[str, ...]) -> tuple[str, ...]:
        if command and Path(command[0]).name.lower() in _SHELLS:
            raise ValueError(f"commands run without a shell: call the program itself, not {command[0]!r}")
        return command

    @field_validator("command", mode="before")
    @classmethod
    def _is_list(cls, command: Any) -> Any:
        if isinstance(command, str):
            raise ValueError("a list of arguments is expected, one per line after `- `; no shell splits a line")
        if isinstance(command, list):  # 25 and true are arguments too
            return [str(part) if isinstance(part, int | float) else part for part in command]
        return command

    @field_validator("command", "env", "list_line", "collect", "collect_audio")
    @classmethod
    def _balanced(cls, value: Any) -> Any:
        for text in value.values() if isinstance(value, dict) else [value] if isinstance(value, str) else value:
            placeholders(text)
        return value

    @model_validator(mode="after")
    def _complete(self) -> Adapter:
        if self.unavailable:
            return self
        if not self.tasks:
            raise ValueError("tasks: at least one is needed")
        if not self.command:
            raise ValueError("command: a list of arguments is needed")
        if not self.collect and not self._writes_out():
            raise ValueError("command: {out} or {stem} is needed there, or a pattern in `collect`")
        if self.mode == "per_list":
            if not self.list_line:
                raise ValueError("list_line: mode per_list needs the line that is written for each clip")
            if not any("{list}" in part for part in self.command):
                raise ValueError("command: mode per_list needs {list} among the arguments")
        self._check_placeholders()
        return self

    def _writes_out(self) -> bool:
        used = placeholders(" ".join((*self.command, self.list_line)))
        return bool(used & {"out", "stem"})

    def _check_placeholders(self) -> None:
        given = frozenset[str]().union(*(_INPUTS[task] for task in self.tasks))
        everywhere = {"job", "checkout", "seed", *(f"ckpt.{name}" for name in self.requires)}
        own = everywhere | given | {"out", "stem", "index"}
        shared = everywhere | {"list"}
        per_clip = self.mode == "per_clip"
        for where, texts, allowed in (
            ("command", self.command, own - {"index"} if per_clip else shared),
            ("env", tuple(self.env.values()), everywhere),
            ("list_line", (self.list_line,), own),
            ("collect", (self.collect,), {"index"} if not per_clip else set()),
            ("collect_audio", (self.collect_audio,), {"index"} if not per_clip else set()),
        ):
            for name in sorted(placeholders(" ".join(texts)) - allowed):
                raise ValueError(f"{where}: unknown placeholder {{{name}}}; {did_you_mean(name, allowed)}")


def placeholders(text: str) -> set[str]:
    """The names in braces of a template. Raises ``ValueError`` for a brace without its partner."""
    found = set()
    for hit in _PLACEHOLDER.finditer(text):
        if hit[0] in "{}":
            raise ValueError(f"a single {hit[0]!r} in {text!r}; write it twice to mean the character")
        if hit[1] is not None:
            found.add(hit[1])
    return found


def fill(template: str, values: Mapping[str, str]) -> str:
    """``template`` with its placeholders replaced, once: values are not looked into.

    Raises:
        KeyError: a placeholder has no value.
    """

    def replace(hit: re.Match[str]) -> str:
        return values[hit[1]] if hit[1] is not None else hit[0][0]

    return _PLACEHOLDER.sub(replace, template)


def names() -> list[str]:
    """The adapters that come with the project."""
    return sorted(path.stem for path in ADAPTERS.glob("*.yaml"))


def find(adapter: str) -> Path:
    """The file of an adapter: a name of :func:`names`, or a path to a YAML file.

    Raises:
        UsageError: there is none.
    """
    path = Path(adapter).expanduser()
    if path.suffix in {".yaml", ".yml"}:
        if path.is_file():
            return path
        raise UsageError(f"gateway {adapter}: no such file", "check the path; `gateway:NAME` takes one of ours.")
    if adapter in names():
        return ADAPTERS / f"{adapter}.yaml"
    raise UsageError(f"unknown gateway {adapter!r}", f"{did_you_mean(adapter, names())} Or name a YAML file.")


def load(path: Path) -> Adapter:
    """Read and check an adapter.

    Raises:
        UsageError: all that is wrong with the file, each with its line.
    """
    found = read_yaml(path)
    lines = {key: line for key, (_, line) in found.items()}
    try:
        return Adapter(**{key: value for key, (value, _) in found.items()})
    except ValidationError as error:
        problems = [_problem(path, lines, item) for item in error.errors()]
        raise UsageError("\n  ".join(problems), "`bench info gateway` describes the fields.") from error


def _problem(path: Path, lines: Mapping[str, int], item: Any) -> str:
    """One pydantic error as ``file:line: field: message``."""
    where = [str(part) for part in item["loc"]]
    message = str(item["msg"]).removeprefix("Value error, ")
    if not where:  # an error of the whole: its message begins with the field
        where = [message.partition(":")[0]] if message.partition(":")[0] in Adapter.model_fields else []
        message = message.partition(": ")[2] if where else message
    line = lines.get(where[0], 1) if where else 1
    if item["type"] == "extra_forbidden":
        known = Weight.model_fields if where[0] == "requires" else Adapter.model_fields
        hint = "commands never run in a shell" if where[-1] == "shell" else did_you_mean(where[-1], known)
        return f"{path}:{line}: unknown field {'.'.join(where)!r}; {hint}"
    if item["type"] == "literal_error":
        options = get_args(Post) if where[0] == "post" else TASKS if where[0] == "tasks" else ()
        message += f"; {did_you_mean(str(item['input']), options)}" if options else ""
    return f"{path}:{line}: {'.'.join(where) or 'adapter'}: {message}"
