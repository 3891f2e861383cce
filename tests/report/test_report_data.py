"""The data files: numbers, states, texts, differences and comparisons against the store and against Python."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from synthetic import EMPTY, WER, Shape, clip_ids, fill, lost

from bench.metrics.edits import word_edits
from bench.results.compare import compare
from bench.results.report import collect, comparisons, svg
from bench.results.report.data_script import number, script, to_json
from bench.results.report.private import clean, clean_text
from bench.results.report.said import differences
from bench.store import Store


def load(folder: Path, name: str) -> dict[str, Any]:
    text = (folder / "data" / f"{name}.js").read_text(encoding="utf-8")
    return json.loads(text.removeprefix(f'bench.load("{name}",').removesuffix(");\n"))  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def large(report: Path) -> dict[str, Any]:
    """The section of ten systems."""
    return next(s for s in load(report, "index")["sections"] if s["group"]["dataset"] == "invented")  # type: ignore[no-any-return]


def test_json_is_free_of_markup_and_of_numbers_that_are_none() -> None:
    text = to_json({"a": "</script><!--&\u2028\u2029", "b": "\ud800"})
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text)["a"] == "</script><!--&\u2028\u2029"
    text.encode("utf-8")
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json([math.nan])
    assert script("x", {"a": 1}) == 'bench.load("x",{"schema":1,"a":1});\n'


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.123456789, 0.123457),
        (1234567.8, 1234570),
        (2.0, 2),
        (-0.0, 0),
        (None, None),
        (math.inf, None),
        (math.nan, None),
    ],
)
def test_numbers_have_six_digits(value: float | None, written: float | None) -> None:
    assert number(value) == written
    assert str(number(value)) in {str(written), "1234570.0", "0"}


def test_scores_are_those_of_the_store(report: Path, invented: Path, large: dict[str, Any]) -> None:
    files = [load(report, name) for name in large["scores"]]
    ids = [clip_id for part in files for clip_id in part["clips"]["id"]]
    assert ids == clip_ids(Shape(clips=large["n_clips"]))
    with Store.open(invented, write=False) as store:
        for place, row in enumerate(large["rows"]):
            for column in large["columns"]:
                if not column["per_clip"] or row["cells"][large["columns"].index(column)] is None:
                    continue
                scored = store.scores(row["run"], column["protocol"])
                found = [v for part in files for v in part["systems"][place]["values"].get(column["key"], [])]
                expected = scored.values.get(column["name"])
                if expected is None:
                    assert found == [None] * len(ids)
                    continue
                assert [v is None for v in found] == (~scored.ok).tolist()
                known = np.array([math.nan if v is None else v for v in found])
                np.testing.assert_allclose(known[scored.ok], expected[scored.ok], rtol=1e-5, atol=1e-12)


def test_states_and_kinds_say_why_a_value_is_missing(report: Path, large: dict[str, Any]) -> None:
    (part,) = [load(report, name) for name in large["scores"]]
    kinds_seen = set()
    for row, system in zip(large["rows"], part["systems"], strict=True):
        for pid, states in system["status"].items():
            kinds = system["kinds"].get(pid, {})
            failed = {str(place) for place, state in enumerate(states) if state == 2}
            assert failed == set(kinds), (row["label"], pid)
            kinds_seen |= set(kinds.values())
        if row["system"] == EMPTY:
            assert {state for states in system["status"].values() for state in states} == {1}
    assert "missing_output" in kinds_seen
    assert len(kinds_seen) > 5


def test_heard_texts_and_differences(report: Path, large: dict[str, Any]) -> None:
    place = next(i for i, row in enumerate(large["rows"]) if row["system"] == "talker")
    heard = [t for name in large["rows"][place]["texts"] for t in load(report, name)["texts"][WER]]
    said = [t for name in large["scores"] for t in load(report, name)["clips"]["text"]]
    details = [load(report, f"detail-{large['id']}-{n}") for n in range(large["detail"]["count"])]
    clips = [clip for detail in details for clip in detail["clips"]]
    assert len(clips) == len(heard) == large["n_clips"]
    compared = 0
    for text, hypothesis, clip in zip(said, heard, clips, strict=True):
        words = clip["systems"][place].get("words", {}).get(WER)
        assert (words is None) == (hypothesis is None)
        if words is None:
            continue
        steps = [(*step, "", "")[:3] for step in words]
        left = " ".join(ref for op, ref, _ in steps if op != "i")
        right = " ".join(ref if op == "=" else hyp for op, ref, hyp in steps if op != "d")
        assert (left, right) == (" ".join(text.split()), " ".join(hypothesis.split()))
        compared += 1
    assert compared > 0.7 * large["n_clips"]


@pytest.mark.parametrize(
    ("said", "heard"), [("a b c d", "a x c"), ("a", ""), ("a b", "z a b y"), ("one two three", "one two three")]
)
def test_differences_count_what_error_rates_count(said: str, heard: str) -> None:
    (steps,) = differences([(said, heard)])
    edits = word_edits(said, heard)
    ops = [step[0] for step in steps]
    assert (ops.count("s"), ops.count("d"), ops.count("i")) == (edits.substitutions, edits.deletions, edits.insertions)
    assert sum(len(step[1].split()) for step in steps if step[0] == "=") == edits.hits


def test_failures_are_listed_once_each(report: Path, large: dict[str, Any]) -> None:
    found = load(report, large["failures"])
    assert found["more"] == 0
    outputs = [(f["row"], f["clip"]) for f in found["failures"] if not f["protocol"]]
    names = [row["system"] for row in large["rows"]]
    numbers = {"wav2lip": 5, "espeak": 6}
    for name, place_of in numbers.items():
        expected = [i for i in range(large["n_clips"]) if lost(place_of, i)]
        assert [clip for row, clip in outputs if names[row] == name] == expected
    assert len(found["failures"]) == len({(f["row"], f["protocol"], f["clip"]) for f in found["failures"]})


def test_comparisons_are_those_of_bench_compare(report: Path, invented: Path, large: dict[str, Any]) -> None:
    pairs = load(report, large["compare"])["pairs"]
    assert [(p["a"], p["b"]) for p in pairs] == [(a, b) for a in range(10) for b in range(a + 1, 10)]
    chosen = next(p for p in pairs if p["columns"])
    with Store.open(invented, write=False) as store:
        first, second = (store.run(large["rows"][chosen[side]]["run"]) for side in ("a", "b"))
        expected = compare(store, first, second)
    assert chosen["n"] == expected.n_common
    for found, comparison in zip(chosen["columns"], expected.comparisons, strict=True):
        assert large["columns"][found["column"]]["protocol"] == comparison.column.protocol.id
        assert found["difference"] == number(comparison.difference)
        assert (found["p_holm"], found["wins"]) == (number(comparison.p_holm), comparison.wins)
    silent = [p for p in pairs if not p["columns"]]
    assert silent
    assert all(p["notes"] for p in silent)


def test_values_of_whole_sets_are_named_and_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def noted(*_: object, metrics: object, greatest: int) -> object:
        asked.append(metrics)
        return SimpleNamespace(n_common=4, comparisons=[], notes=["a note"])

    def column(protocol: str, kind: str) -> SimpleNamespace:
        value = SimpleNamespace(label=protocol.upper(), aggregation=SimpleNamespace(kind=kind))
        return SimpleNamespace(key=protocol, protocol=SimpleNamespace(id=protocol), value=value)

    monkeypatch.setattr(comparisons, "compare", noted)
    row = SimpleNamespace(run="r")
    both = SimpleNamespace(id="s", rows=[row, row], columns=[column("fd", "corpus"), column("lmd", "mean")])
    turns: list[int] = []
    _, found = comparisons.compare_file(SimpleNamespace(scores=print, run_clips=print), both, lambda: turns.append(1))  # type: ignore[arg-type]
    (pair,) = found["pairs"]
    assert asked == [["lmd"]] and turns == [1]
    assert pair["n"] == 4 and pair["notes"][0] == "a note" and pair["notes"][1].startswith("FD: ")


def test_many_clips_are_spread_over_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.progress import Progress
    from bench.results.report.build import Options, build

    monkeypatch.setattr(collect, "NUMBERS_PER_PART", 500)
    store = fill(tmp_path / "store", Shape(clips=30, systems=2, hostile=False))
    with Store.open(store, write=False) as opened:
        build(opened, opened.runs(), tmp_path / "report", Options(media="none"), Progress(quiet=True))
    (section,) = load(tmp_path / "report", "index")["sections"]
    parts = [load(tmp_path / "report", name) for name in section["scores"]]
    assert len(parts) > 1
    assert [clip for part in parts for clip in part["clips"]["id"]] == clip_ids(Shape(clips=30, hostile=False))
    starts = [part["from"] for part in parts]
    assert starts == [sum(len(p["clips"]["id"]) for p in parts[:i]) for i in range(len(parts))]
    assert len(section["rows"][0]["texts"]) == len(parts)


def test_bars_of_a_histogram_hold_every_value_once() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(size=500), [1e6, -1e6], np.zeros(40)])
    figure = svg.histogram(values, svg.edges_of(values))
    assert sum(bar.count for bar in figure.bins) == len(values)
    for bar in figure.bins:
        if bar.count:  # the range in the bar's link finds exactly what the bar counts
            assert ((values >= bar.low) & (values <= bar.high)).sum() == bar.count
    assert figure.bins[0].low == -1e6
    same = svg.histogram(np.full(5, 2.0), svg.edges_of(np.full(5, 2.0)))
    assert sum(bar.count for bar in same.bins) == 5


def test_interval_marks_share_one_scale() -> None:
    one, none, other = svg.interval_marks([(1.0, 0.0, 2.0), None, (4.0, 3.0, 10.0)])
    assert none is None
    assert one is not None
    assert other is not None
    assert (one.low, other.high) == ("4", "116")
    assert float(one.point) < float(one.high) < float(other.low)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("failed in /home/someone/x/run.py, line 3", "failed in …/run.py, line 3"),
        ("--set checkpoint=/data/models/a.pt", "--set checkpoint=…/a.pt"),
        ("~/secret/key.txt", "…/key.txt"),
        ("C:\\Users\\someone\\a.wav", "…/a.wav"),
        ("wer/whisper-large-v3@1 over demo/test and 1/2", "wer/whisper-large-v3@1 over demo/test and 1/2"),
        ("and/or, km/h, /second", "and/or, km/h, /second"),
        ("https://example.org/a/b", "https://example.org/a/b"),
    ],
)
def test_paths_are_cut(text: str, cleaned: str) -> None:
    assert clean_text(text) == cleaned
    assert clean({"a": [text, 1, None]}) == {"a": [cleaned, 1, None]}
