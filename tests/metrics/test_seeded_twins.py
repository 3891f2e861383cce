"""The regression twins of the canonical protocols: which there are, how they are named, and what the baseline holds."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from video_helpers import ArrayMedia, truth

from bench import registry
from bench.api import Failure, Metric, Score, Unscorable
from bench.metrics import seeded
from bench.metrics.lse.protocols import TRACKED
from bench.metrics.seeded import INNER, SeededTwins, twin_of
from bench.protocols import catalogue
from bench.results.gate import REGRESSION, default_tolerance

BASELINE = Path(__file__).parents[2] / "results" / "baselines" / "seeded.json"
TWINS = SeededTwins.protocols


def test_every_protocol_with_weights_of_the_user_has_a_twin() -> None:
    entries = {pid: entry for pid, entry in catalogue().entries.items() if not pid.startswith("seeded")}
    canonical = {pid for pid, entry in entries.items() if entry.protocol.status == "needs-weights"}
    assert {protocol.id for inner in INNER for protocol in inner.protocols} == canonical
    assert len({twin.id for twin in TWINS}) == len(TWINS) == len(canonical)


def test_nobody_can_take_a_twin_for_a_measure() -> None:
    assert "seeded" not in registry.names("metrics")
    for twin in TWINS:
        assert re.fullmatch(r"seeded(-tracks)?/[a-z0-9-]+@0", twin.id)
        assert twin.status == "regression-test-only" and not twin.default and not twin.used_by
        assert all(value.label.startswith("seeded ") for value in twin.values)
        assert "no quality" in twin.note


def test_a_twin_is_the_canonical_recipe_without_weights() -> None:
    for inner in INNER:
        for protocol in inner.protocols:
            twin = twin_of(protocol)
            assert (twin.parameters, twin.needs, twin.judges) == (protocol.parameters, protocol.needs, protocol.judges)
            assert [v.aggregation for v in twin.values] == [v.aggregation for v in protocol.values]
            assert twin.weights == ()
            assert twin.id.startswith("seeded-tracks/") == (protocol in TRACKED)


def test_the_baseline_has_a_number_of_every_value_of_every_twin() -> None:
    rows = json.loads(BASELINE.read_text(encoding="utf-8"))
    assert {(row["protocol"], row["metric"]) for row in rows} == {
        (twin.id, value.label) for twin in TWINS for value in twin.values
    }
    for row in rows:
        assert row["value"] is not None and math.isfinite(row["value"])
        assert (row["n_scored"], row["n_failed"]) == (
            (1, 0) if row["protocol"].startswith("seeded-tracks/") else (4, 0)
        )
        assert row["metric"].startswith("seeded ")
        assert row["tolerance"] == default_tolerance(row["protocol"], row["value"]) <= 1e-3 * abs(row["value"])


def test_the_gate_knows_the_families() -> None:
    assert {twin.family for twin in TWINS} == REGRESSION


class Answers(Metric):
    """In place of an inner metric: says what it was asked."""

    def __init__(self, kind: type[Metric], error: Unscorable | None = None) -> None:
        self.asked: list[list[str]] = []
        self.prepared: list[list[str]] = []
        self._error = error
        self.loaded: list[str] = []
        self.__class__ = type("Answers", (Answers,), {"protocols": kind.protocols, "name": kind.name})

    def load(self, device: str) -> None:
        self.loaded.append(device)

    def prepare(self, protocol_ids: Sequence[str], outputs: Sequence[Any]) -> None:
        self.prepared.append(list(protocol_ids))

    def score(
        self, protocol_ids: Sequence[str], output: Any, reference: Any, truth: Any
    ) -> Mapping[str, Score | Failure]:
        self.asked.append(list(protocol_ids))
        if self._error is not None:
            raise self._error
        return {pid: Score({"x": float(len(pid))}) for pid in protocol_ids}


@pytest.fixture
def twins(monkeypatch: pytest.MonkeyPatch) -> SeededTwins:
    """Twins whose inner metrics only answer; CSIM cannot."""
    metric = SeededTwins()
    made = [Answers(kind, Unscorable("no_face", "nobody") if kind is seeded.CsimArcface else None) for kind in INNER]
    metric._metrics = tuple(made)
    owners = dict(zip(INNER, map(type, made), strict=True))
    metric._inner = {pid: (owners[owner], inner) for pid, (owner, inner) in metric._inner.items()}
    return metric


def test_results_come_under_the_twins_ids_and_one_failure_stops_nobody(twins: SeededTwins) -> None:
    ids = [twin.id for twin in TWINS]
    found = twins.score(ids, ArrayMedia(), ArrayMedia(), truth())
    assert set(found) == set(ids)
    for inner in INNER:
        for protocol in inner.protocols:
            result = found[twin_of(protocol).id]
            if inner is seeded.CsimArcface:
                assert result == Failure("no_face", "nobody")
            else:
                assert result == Score({"x": float(len(protocol.id))})


def test_only_what_is_asked_is_computed_and_prepared(twins: SeededTwins) -> None:
    asked = ["seeded/wer-whisper-medium@0"]
    assert list(twins.score(asked, ArrayMedia(), ArrayMedia(), truth())) == asked
    twins.prepare(asked, [ArrayMedia(), ArrayMedia()])
    made: Any = twins._metrics
    assert [metric.asked for metric in made] == [[], [], [], [], [["wer/whisper-medium@1"]]]
    assert [metric.prepared for metric in made] == [[], [], [], [], [["wer/whisper-medium@1"]]]
    assert [metric.loaded for metric in made] == [[], [], [], [], ["cpu"]]  # once, and no network in vain
