"""Metrics that score one clip (``zed/bad``) wrong, each in a way of its own; the others get 0.5."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

from bench.api import Failure, Metric, Protocol, Score, Value

BAD = "zed/bad"


def protocol(name: str) -> Protocol:
    """A protocol of one value in [0, 1]."""
    return Protocol(
        id=f"{name}/toy@1",
        values=(Value("value", name, "higher", "", low=0.0, high=1.0),),
        judges=frozenset({"audio"}),
        needs=frozenset({"audio"}),
        status="offline-real",
        parameters={},
        source="tests",
    )


def _raise(error: BaseException) -> Any:
    raise error


def _arrays() -> Any:
    import numpy as np

    return Score({"value": 0.5}, arrays={"feature": np.array([object()])})


def _unscorable() -> Any:
    from bench.api import Unscorable

    raise Unscorable("tired", "long day")


#: name: what ``score`` returns for the bad clip, given the protocol's id
SPOILERS: dict[str, Callable[[str], Any]] = {
    "m-raises": lambda pid: _raise(ZeroDivisionError("division by zero")),
    "m-exits": lambda pid: sys.exit(1),
    "m-nan": lambda pid: {pid: Score({"value": float("nan")})},
    "m-infinite": lambda pid: {pid: Score({"value": float("-inf")})},
    "m-beyond": lambda pid: {pid: Score({"value": 1.5})},
    "m-below": lambda pid: {pid: Score({"value": -0.001})},
    "m-number": lambda pid: {pid: 0.5},
    "m-text": lambda pid: {pid: Score({"value": "good"})},  # type: ignore[dict-item]
    "m-none": lambda pid: {pid: Score({"value": None})},  # type: ignore[dict-item]
    "m-other-name": lambda pid: {pid: Score({"valu": 0.5})},
    "m-nothing": lambda pid: {},
    "m-no-mapping": lambda pid: [Score({"value": 0.5})],
    "m-other-id": lambda pid: {"other/toy@1": Score({"value": 0.5})},
    "m-parts-text": lambda pid: {pid: Score({"value": 0.5}, parts={"words": "many"})},  # type: ignore[dict-item]
    "m-text-bytes": lambda pid: {pid: Score({"value": 0.5}, text={"heard": b"\xff"})},  # type: ignore[dict-item]
    "m-objects": lambda pid: {pid: _arrays()},
    "m-unknown-kind": lambda pid: {pid: Failure("tired", "long day")},
    "m-unscorable-kind": lambda pid: _unscorable(),
    "m-hangs": lambda pid: time.sleep(600),
    "m-kills": lambda pid: os._exit(1),
}


def _class(name: str, spoiler: Callable[[str], Any]) -> type[Metric]:
    declared = protocol(name)

    def score(self: Metric, protocol_ids: Any, output: Any, reference: Any, truth: Any) -> Any:
        return spoiler(declared.id) if truth.clip_id == BAD else {declared.id: Score({"value": 0.5})}

    return type(name.title().replace("-", ""), (Metric,), {**_body(name, declared), "score": score})


def _body(name: str, declared: Protocol) -> dict[str, Any]:
    return {"name": name, "protocols": (declared,), "__module__": __name__}


globals().update({f"Metric{i}": _class(name, spoiler) for i, (name, spoiler) in enumerate(SPOILERS.items())})


class NotLoaded(Metric):
    """Cannot be loaded."""

    name = "m-no-load"
    protocols = (protocol("m-no-load"),)

    def load(self, device: str) -> None:
        raise RuntimeError("weights are damaged")

    def score(self, protocol_ids: Any, output: Any, reference: Any, truth: Any) -> Any:
        return {protocol_ids[0]: Score({"value": 0.5})}


class Feature(Metric):
    """Keeps a feature of the truth that no store can hold."""

    name = "m-feature"
    protocols = (protocol("m-feature"),)

    def score(self, protocol_ids: Any, output: Any, reference: Any, truth: Any) -> Any:
        if truth.clip_id == BAD:
            reference.feature("audio:words@1", lambda: {"words": ["bin", None]})
        return {protocol_ids[0]: Score({"value": 0.5})}


class NamelessFeature(Metric):
    """Keeps a feature without saying of which stream."""

    name = "m-feature-key"
    protocols = (protocol("m-feature-key"),)

    def score(self, protocol_ids: Any, output: Any, reference: Any, truth: Any) -> Any:
        if truth.clip_id == BAD:
            reference.feature("words@1", dict)
        return {protocol_ids[0]: Score({"value": 0.5})}


class NotMade(Metric):
    """Cannot even be made."""

    name = "m-not-made"
    protocols = (protocol("m-not-made"),)

    def __init__(self) -> None:
        raise RuntimeError("no metric today")

    def score(self, protocol_ids: Any, output: Any, reference: Any, truth: Any) -> Any:
        return {}


class NotMissing(Metric):
    """Cannot say what it misses."""

    name = "m-missing"
    protocols = (protocol("m-missing"),)

    def missing(self, protocol_id: str) -> list[str]:
        raise KeyError("HOME")

    def score(self, protocol_ids: Any, output: Any, reference: Any, truth: Any) -> Any:
        return {}
