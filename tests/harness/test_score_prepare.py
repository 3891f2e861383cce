"""A metric is shown the outputs of a batch before they are scored one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from bench import registry
from bench.api import Metric, Protocol, Reference, Score, Value
from bench.score_worker import Scored, ScorePayload, ScoreSetup, worker

ID = "listening/size@1"


class Listening(Metric):
    name = "listening"
    protocols = (
        Protocol(ID, (Value("n", "n", "higher", "1"),), frozenset(), frozenset(), "offline-real", {}, "this test"),
    )
    seen: list[int] = []
    broken = False

    def prepare(self, protocol_ids: Sequence[str], outputs: Sequence[Any]) -> None:
        assert list(protocol_ids) == [ID]
        self.seen.append(len(outputs))
        if self.broken:
            raise RuntimeError("several at once are too many")

    def score(self, protocol_ids: Sequence[str], output: Any, reference: Any, truth: Reference) -> Mapping[str, Score]:
        return {ID: Score({"n": float(truth.clip_id)})}


def scored(count: int) -> list[Scored]:
    payloads = [
        ScorePayload(
            truth=Reference(str(k), f"{k:064x}", None, None, None),
            video_key="",
            audio_key="",
            output_sha256=f"{k:064x}",
            video=None,
            audio=None,
            cost={},
            protocols=[ID],
            store="",
        )
        for k in range(count)
    ]
    return worker(ScoreSetup({"listening": [ID]}, "cpu"))(payloads)


@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_batch_is_prepared_once_and_each_clip_keeps_its_own_score(
    monkeypatch: pytest.MonkeyPatch, count: int, broken: bool
) -> None:
    monkeypatch.setitem(registry._trial["metrics"], "listening", Listening)
    monkeypatch.setattr(Listening, "seen", [])
    monkeypatch.setattr(Listening, "broken", broken)
    values = [one.results[ID][0].values["n"] for one in scored(count)]
    assert values == [float(k) for k in range(count)]
    assert Listening.seen == ([count] if count > 1 else [])
