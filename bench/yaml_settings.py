"""Reading YAML settings without its dangers: no tags, no aliases, no duplicate keys, bounded size.

Aliases are what a "billion laughs" file is made of, and tags make Python objects; a settings
file needs neither.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from bench.errors import UsageError

MAX_BYTES = 1 << 20
MAX_DEPTH = 32


def read_yaml(path: Path) -> dict[str, tuple[Any, int]]:
    """Top-level keys of a YAML mapping, each with its value and the line that it stands on.

    Raises:
        UsageError: absent, too large, not UTF-8, no mapping, or with a tag, alias or double key; the
            message names file and line.
    """
    root = _compose(path, _read(path))
    if root is None:
        return {}
    _refuse_tag(root, path)
    if not isinstance(root, yaml.MappingNode):
        raise UsageError(f"{path}:1: a mapping of settings is expected", "write one `name: value` per line.")
    found: dict[str, tuple[Any, int]] = {}
    for key_node, value_node in root.value:
        line = key_node.start_mark.line + 1
        key = _plain(key_node, path, 0)
        if not isinstance(key, str):
            raise UsageError(f"{path}:{line}: {key!r} is no setting's name", "names are words.")
        if key in found:
            raise UsageError(f"{path}:{line}: {key!r} stands twice (first on line {found[key][1]})", "remove one.")
        found[key] = (_plain(value_node, path, 0), line)
    return found


def _read(path: Path) -> str:
    if path.is_dir():
        raise UsageError(f"{path} is a folder", "name a YAML file.")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(f"{path} is larger than {MAX_BYTES >> 20} MiB", "this is no settings file.")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such file", "check the path after --config.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}", "a UTF-8 text file is expected.") from error


class _Composer(yaml.SafeLoader):
    """Refuses aliases while composing, before anything is expanded."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.events.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "aliases (*name) are not allowed here", mark)
        return super().compose_node(parent, index)


def _compose(path: Path, text: str) -> yaml.Node | None:
    try:
        loader = _Composer(text)
        try:
            return loader.get_single_node()
        finally:
            loader.dispose()
    except RecursionError as error:
        raise UsageError(f"{path}:1: nested too deeply", "settings are flat.") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UsageError(f"{path}:{line}: holds a character that YAML has not", "remove it.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 1
        parts = [getattr(error, "context", None), getattr(error, "problem", None)]
        problem = ", ".join(part for part in parts if part) or type(error).__name__
        raise UsageError(f"{path}:{line}: {problem}", "mend that line; `name: value` pairs are enough.") from error


def _refuse_tag(node: yaml.Node, path: Path) -> None:
    """Only YAML's own scalars, lists and mappings; no Python objects, nobody's own kinds."""
    if not node.tag.startswith("tag:yaml.org,2002:") or node.tag.startswith("tag:yaml.org,2002:python"):
        line = node.start_mark.line + 1
        raise UsageError(f"{path}:{line}: the tag {node.tag!r} is not allowed", "remove the tag.")


def _plain(node: yaml.Node, path: Path, depth: int) -> Any:
    """A composed node as Python scalars, lists and dicts."""
    line = node.start_mark.line + 1
    if depth > MAX_DEPTH:
        raise UsageError(f"{path}:{line}: nested deeper than {MAX_DEPTH} levels", "settings are flat.")
    _refuse_tag(node, path)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(child, path, depth + 1) for child in node.value]
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, depth)
    try:
        return yaml.SafeLoader.construct_object(yaml.SafeLoader(""), node)  # scalars alone reach this
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"{path}:{line}: {error}", "mend that value.") from error


def _mapping(node: yaml.MappingNode, path: Path, depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = str(_plain(key_node, path, depth + 1))
        if key in found:
            raise UsageError(f"{path}:{key_node.start_mark.line + 1}: {key!r} stands twice", "remove one.")
        found[key] = _plain(value_node, path, depth + 1)
    return found


def read_lines(path: Path) -> dict[tuple[str | int, ...], int]:
    """The line of every value of a file that :func:`read_yaml` has read, by its keys and indices from the top."""
    found: dict[tuple[str | int, ...], int] = {}

    def visit(node: yaml.Node, place: tuple[str | int, ...]) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                below = (*place, str(key.value))
                found[below] = key.start_mark.line + 1
                visit(value, below)
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                found[*place, index] = value.start_mark.line + 1
                visit(value, (*place, index))

    root = _compose(path, _read(path))
    if root is not None:
        visit(root, ())
    return found
