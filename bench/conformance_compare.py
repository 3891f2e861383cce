"""Comparing an adapter's answer with recorded values: arrays by tolerance, JSON trees leaf by leaf."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.records import Array

_MISSING = object()
_SHOWN = 4  # problems told per case; the rest is counted


@dataclass(slots=True)
class Comparison:
    """The greatest differences and, in words, what does not agree; no problem: it agrees."""

    max_abs: float = 0.0
    max_rel: float = 0.0
    problems: list[str] = field(default_factory=list)
    _hidden: int = 0

    def problem(self, text: str) -> None:
        """Note something that does not agree."""
        if len(self.problems) < _SHOWN:
            self.problems.append(text)
            return
        self._hidden += 1
        self.problems[_SHOWN:] = [f"and {self._hidden} more"]

    def differs_by(self, absolute: float, relative: float) -> None:
        """Note a difference, allowed or not."""
        self.max_abs = max(self.max_abs, absolute)
        self.max_rel = max(self.max_rel, relative)


class JsonKeys:
    """The keys of a JSON case that are ``inputs``, and those that are ``never`` compared."""

    def __init__(self, inputs: set[str], never: set[str] | None = None) -> None:
        self.inputs = frozenset(inputs)
        self.never = frozenset(never or ()) | {"note"}


def compare_arrays(
    got: Any, expected: Mapping[str, Array], rtol: float, atol: float, wider: Mapping[str, float] | None = None
) -> Comparison:
    """Hold each expected array against ``got[name]``; a case without expected arrays is a problem.

    ``wider``: the absolute tolerance of single outputs, by name.
    """
    result = Comparison()
    if not isinstance(got, Mapping):
        result.problem(f"the adapter returned {type(got).__name__}, not a dictionary")
        return result
    if not expected:
        result.problem("the case has no expected value")
    for name, want in expected.items():
        if name not in got:
            result.problem(f"{name}: missing")
        else:
            _compare_array(result, name, got[name], want, rtol, (wider or {}).get(name, atol))
    return result


def _compare_array(result: Comparison, name: str, got: Any, want: Array, rtol: float, atol: float) -> None:
    import numpy as np

    have = np.asarray(got)
    if have.dtype.kind not in "biuf":
        result.problem(f"{name}: {have.dtype} is not a number")
        return
    one_element = have.size == want.size == 1 and max(have.ndim, want.ndim) <= 1
    if have.shape != want.shape and not one_element:
        result.problem(f"{name}: shape {have.shape}, expected {want.shape}")
        return
    a, b = have.astype(np.float64).ravel(), want.astype(np.float64).ravel()
    if not np.array_equal(np.isnan(a), np.isnan(b)):
        result.problem(f"{name}: NaN at {np.count_nonzero(np.isnan(a) != np.isnan(b))} places where the other has none")
        return
    open_ended = np.isinf(a) | np.isinf(b)
    if not np.array_equal(a[open_ended], b[open_ended]):
        result.problem(f"{name}: infinities differ")
        return
    usual = ~(np.isnan(b) | open_ended)
    _within(result, name, a[usual], b[usual], rtol, atol)


def _within(result: Comparison, name: str, a: Array, b: Array, rtol: float, atol: float) -> None:
    import numpy as np

    if a.size == 0:
        return
    difference = np.abs(a - b)
    relative = np.divide(difference, np.abs(b), out=np.zeros_like(difference), where=b != 0)
    result.differs_by(float(difference.max()), float(relative.max()))
    excess = difference - (atol + rtol * np.abs(b))
    wrong = np.count_nonzero(excess > 0)
    if wrong:
        worst = int(excess.argmax())
        result.problem(
            f"{name}: {wrong} of {a.size} values differ, worst {a[worst]:.9g} for {b[worst]:.9g} at {worst}"
            f" (rtol {rtol:g}, atol {atol:g})"
        )


def inputs_only(node: Any, keys: JsonKeys) -> Any:
    """A JSON tree with input keys whole, containers kept, and every other leaf left out."""
    if isinstance(node, list):
        return [inputs_only(item, keys) for item in node if isinstance(item, dict | list)]
    kept: dict[str, Any] = {}
    for key, value in node.items():
        if key in keys.inputs:
            kept[key] = value
        elif key not in keys.never and _has_containers(value):
            kept[key] = inputs_only(value, keys)
    return kept


def _has_containers(value: Any) -> bool:
    """A dictionary, or a list of dictionaries or lists; a list of leaves is a value like any other."""
    return isinstance(value, dict) or (isinstance(value, list) and any(isinstance(v, dict | list) for v in value))


def compare_json(got: Any, expected: Any, keys: JsonKeys, rtol: float, atol: float) -> Comparison:
    """Hold every leaf of ``expected`` that is no input against ``got``."""
    result = Comparison()
    compared = 0
    for path, have, want in _leaves("", got, expected, keys):
        compared += 1
        problem = _leaf_problem(result, have, want, rtol, atol)
        if problem:
            result.problem(f"{path or 'value'}: {problem}")
    if not compared:
        result.problem("the case has no expected value")
    return result


def _leaves(path: str, got: Any, want: Any, keys: JsonKeys) -> Iterator[tuple[str, Any, Any]]:
    """``(path, what we have, what is expected)``; a container of the wrong kind or length counts as a leaf."""
    if isinstance(want, dict):
        if not isinstance(got, Mapping):
            yield path, got, want
            return
        for key, value in want.items():
            if key not in keys.inputs and key not in keys.never:
                yield from _leaves(f"{path}.{key}".lstrip("."), got.get(key, _MISSING), value, keys)
        extra = set(got) - set(want) if _is_count(want) else set()
        for key in sorted(extra):
            yield f"{path}.{key}", got[key], _MISSING
    elif isinstance(want, list):
        if isinstance(got, str | bytes) or not isinstance(got, Sequence) or len(got) != len(want):
            yield path, got, want
            return
        for index, value in enumerate(want):
            yield from _leaves(f"{path}[{index}]", got[index], value, keys)
    else:
        yield path, got, want


def _is_count(want: Mapping[str, Any]) -> bool:
    """A table of counts by kind (``{"no_face": 1}``): a further kind in the answer is an error."""
    return all(isinstance(v, int) and not isinstance(v, bool) for v in want.values())


def _leaf_problem(result: Comparison, have: Any, want: Any, rtol: float, atol: float) -> str | None:
    if have is _MISSING:
        return "missing"
    if want is _MISSING:
        return f"{have!r} where nothing is expected"
    if isinstance(want, dict | list):
        return _container_problem(have, want)
    if isinstance(want, float) and isinstance(have, Real) and not isinstance(have, bool):
        return _float_problem(result, float(have), want, rtol, atol)
    if isinstance(want, bool) or want is None or isinstance(want, str):
        return None if type(have) is type(want) and have == want else f"{have!r}, expected {want!r}"
    equal = isinstance(have, Integral | float) and not isinstance(have, bool) and have == want
    return None if equal else f"{have!r}, expected {want!r}"


def _container_problem(have: Any, want: dict[str, Any] | list[Any]) -> str:
    if isinstance(want, list) and isinstance(have, Sequence) and not isinstance(have, str | bytes):
        return f"{len(have)} items, expected {len(want)}"
    return f"{type(have).__name__}, expected {type(want).__name__}"


def _float_problem(result: Comparison, have: float, want: float, rtol: float, atol: float) -> str | None:
    if math.isnan(have) or math.isnan(want):
        return None if math.isnan(have) and math.isnan(want) else f"{have}, expected {want}"
    if math.isinf(have) or math.isinf(want):
        return None if have == want else f"{have}, expected {want}"
    difference = abs(have - want)
    result.differs_by(difference, difference / abs(want) if want else 0.0)
    return None if difference <= atol + rtol * abs(want) else f"{have!r}, expected {want!r}"
