"""Rates from a store with invented costs, and what a plan makes of them for other clips."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import cost_bytes
from bench.cost_model import Amount, Line
from bench.cost_plan import SCENES, Estimator, Judged, Scene, Share, projected
from bench.cost_rates import BUSY_GUESS, GENERATE_GUESS, GPU_GUESSES, Rates
from bench.plan import RunPlan
from bench.records import Protocol
from bench.specs import SystemSpec
from bench.store import Store
from bench.store_records import OutputRecord, RunClip, RunRecord, ScoreRecord

N, CLIP_S = 20, 3.0
OWN, ONCE = 0.2, 0.5  # seconds of scoring per second of media
DRAW = Protocol("lmd/mouth20-iod@1", (), frozenset(), frozenset({"video"}), "", {}, "", cost_hint_s=1.2)
HEAR = Protocol("wer/toy@1", (), frozenset(), frozenset({"audio"}), "", {}, "", cost_hint_s=0.3)
SET = Protocol("fid/toy@1", (), frozenset(), frozenset({"video"}), "", {}, "", cost_hint_s=0.3)


def record(system: str, task: str = "a2v", **changes: object) -> RunRecord:
    fields = {"version": "1", "tier": "control", "dataset": "demo", "split": "test", **changes}
    return RunRecord(id=f"{system}-{task}-{len(str(changes))}", system=system, task=task, **fields)  # type: ignore[arg-type]


def plan(found: RunRecord) -> RunPlan:
    return RunPlan(found, SystemSpec(found.system, found.system, {}), [], [], control=False)


def fill(store: Store, run: RunRecord, rank: int, generate_s: float, device: str = "cpu") -> None:
    """A run whose clips were all scored under ``DRAW``, ``rank`` in order after other runs."""
    store.add_run(run)
    store.add_run_clips(run.id, [RunClip(f"c{i:02}", "s", f"reference {i}", CLIP_S) for i in range(N)])
    scores = []
    for i in range(N):
        output = OutputRecord(
            run.id, f"c{i:02}", "ok", f"{run.id} {i}", seconds=generate_s, media_seconds=CLIP_S, device=device
        )
        store.add_output(output)
        took = CLIP_S * (OWN if rank else OWN + ONCE)
        key = (f"{run.id} {i}", f"reference {i}", DRAW.id, "w")
        scores.append(ScoreRecord(*key, "ok", seconds=took, arrays=b"x" * 30, created=f"2026-01-0{rank + 1}"))
    store.add_scores(scores)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store") as made:
        fill(made, record("first"), 0, generate_s=6.0)
        fill(made, record("second"), 1, generate_s=1.5)
        yield made


def test_what_a_truth_takes_is_told_from_what_each_system_takes(store: Store) -> None:
    for system in ("first", "second", "unknown"):
        rate = Rates(store, "cpu").scoring(DRAW, plan(record(system)))
        assert rate.own == pytest.approx(Line(0.0, OWN))
        assert rate.once == pytest.approx(Line(0.0, ONCE))
        assert rate.samples == 2 * N


def test_one_system_alone_pays_for_all_of_it_every_time(tmp_path: Path) -> None:
    with Store.open(tmp_path / "alone") as store:
        fill(store, record("first"), 0, generate_s=6.0)
        rate = Rates(store, "cpu").scoring(DRAW, plan(record("first")))
    assert rate.own == pytest.approx(Line(0.0, OWN + ONCE)) and rate.once == Line()


def test_outputs_that_two_runs_share_were_scored_once(store: Store) -> None:
    copy = record("copy")
    store.add_run(copy)
    store.add_run_clips(copy.id, store.run_clips(record("first").id))
    for clip, output in store.outputs(record("first").id).items():
        store.add_output(OutputRecord(copy.id, clip, "ok", output.sha256, seconds=0.0, media_seconds=CLIP_S))
    rate = Rates(store, "cpu").scoring(DRAW, plan(record("first")))
    assert (rate.samples, rate.once) == (2 * N, pytest.approx(Line(0.0, ONCE)))


def test_generating_goes_by_the_run_then_its_settings_then_its_system(store: Store) -> None:
    fill(store, record("first", settings={"steps": 99}), 2, generate_s=30.0)
    rates = Rates(store, "cpu")
    assert rates.generation(plan(record("first"))).own.per_s == pytest.approx(2.0)
    same_settings = record("first", settings={"steps": 99}, seed=7)
    assert rates.generation(plan(same_settings)).own.per_s == pytest.approx(10.0)
    assert rates.generation(plan(record("first", settings={"steps": 5}))).samples == N
    assert rates.generation(plan(record("first", "vts"))).samples == 0
    assert rates.generation(plan(record("second"))).own.per_s == pytest.approx(0.5)
    assert rates.generation(plan(record("unknown"))).own == GENERATE_GUESS


def test_what_nobody_measured_is_a_guess(store: Store) -> None:
    run = plan(record("first"))
    assert Rates(store, "cpu").scoring(HEAR, run) == Rates(None, "cpu").scoring(HEAR, run)
    assert Rates(None, "cpu").scoring(HEAR, run).own.per_s == pytest.approx(0.1)
    assert Rates(store, "cuda").scoring(HEAR, run).own.per_s == GPU_GUESSES["wer"]
    assert Rates(store, "cuda").scoring(DRAW, run).samples == 0  # another kind of device was measured
    assert Rates(store, "cuda").generation(run).samples == 0
    assert Rates(store, "cpu").stage("score").busy == BUSY_GUESS


def test_other_clips_scale_by_their_seconds_and_pay_for_truths_once(store: Store) -> None:
    estimator = Estimator(store, "cpu")
    runs = [(plan(record(system)), [DRAW]) for system in ("first", "second")]
    bill = estimator.bill(projected(Scene("x", 1000, 5.0), runs))
    media = 1000 * 5.0
    beside = {"generate": 0.1, "score": 0.02}
    assert bill.stages["generate"].seconds == pytest.approx(media * (2.0 + 0.5 + 2 * beside["generate"]))
    assert bill.stages["score"].seconds == pytest.approx(media * (2 * OWN + ONCE + 2 * beside["score"]))
    assert bill.stages["score"].guessed_s == pytest.approx(media * 2 * beside["score"])
    assert bill.stages["score"].longest_s == pytest.approx(5.0 * (OWN + ONCE + beside["score"]))
    assert (bill.units, bill.models) == ({"generate": 2000, "score": 2000}, {"generate": 2, "score": 1})
    assert bill.media_s == 2 * media
    assert 0.0 < bill.guessed < 0.2
    walls = [estimator.wall(bill, workers) for workers in (1, 8, 64)]
    assert walls == sorted(walls, reverse=True)
    assert walls[0] == pytest.approx(bill.device_s / BUSY_GUESS + 2 * 3.0 + (2 + 1) * 5.0)


def test_two_data_sets_of_a_plan_are_projected_as_one() -> None:
    lrs = record("first", dataset="lrs3", dataset_sha256="other")
    shares = projected(SCENES[0], [(plan(record("first")), [DRAW]), (plan(lrs), [DRAW, HEAR])])
    (share,) = shares
    assert [(judged.protocol.id, judged.outputs.clips) for judged in share.judge] == [(DRAW.id, 1321), (HEAR.id, 1321)]


def test_the_published_sets_are_the_ones_projected_to() -> None:
    assert [(scene.clips, scene.clip_s) for scene in SCENES] == [(1321, 2.4), (160, 4.0), (1_000_000, 5.0)]


def test_features_of_frames_fill_the_disk_of_large_sets() -> None:
    estimator = Estimator(None, "cpu")
    clips = Amount(1000, 5000.0, 5.0)
    size = estimator.bill([Share(plan(record("first")), clips, [Judged(SET, clips, clips)])]).bytes
    assert size.database == pytest.approx(5000 * 409_600 + 1000 * (cost_bytes.ROW_BYTES + cost_bytes.OUTPUT_ROW_BYTES))
    assert size.features == pytest.approx(5000 * 204_800)
    assert size.media == 5000 * cost_bytes.VIDEO_GUESS
    assert size.read == 5000 * (2 * (cost_bytes.VIDEO_GUESS + cost_bytes.SPEECH_GUESS) + cost_bytes.VIDEO_GUESS)


def test_arrays_are_looked_up_in_the_store(store: Store) -> None:
    assert Rates(store, "cpu").array_rate(DRAW) == pytest.approx(30 / CLIP_S)
    assert Rates(store, "cpu").array_rate(HEAR) is None


def test_the_bytes_of_rows_are_those_of_a_database(tmp_path: Path) -> None:
    runs, clips, protocols = 3, 500, 8
    with Store.open(tmp_path / "store") as store:
        for number in range(runs):
            run = record(f"system{number}")
            store.add_run(run)
            ids = [f"speaker{i % 50}/clip{i:05}" for i in range(clips)]
            store.add_run_clips(run.id, [RunClip(name, "speaker", f"{i:064x}", 3.0) for i, name in enumerate(ids)])
            for i, name in enumerate(ids):
                sha = f"{number + 1:04x}{i:060x}"
                store._session.connection.execute("PRAGMA synchronous = OFF")  # only the size is wanted
                store.add_output(OutputRecord(run.id, name, "ok", sha, n_frames=75, seconds=1.5))
            common = {"values": {"a": 0.1, "b": 0.2}, "seconds": 0.1, "versions": {"numpy": "2"}}
            store.add_scores(
                [
                    ScoreRecord(f"{number + 1:04x}{i:060x}", f"{i:064x}", f"p{p}", "w", "ok", **common)  # type: ignore[arg-type]
                    for i in range(clips)
                    for p in range(protocols)
                ]
            )
        store._session.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = (tmp_path / "store" / "store.sqlite").stat().st_size
    foretold = runs * clips * (cost_bytes.OUTPUT_ROW_BYTES + protocols * cost_bytes.ROW_BYTES)
    assert 0.8 < size / foretold < 1.25, (size, foretold)
