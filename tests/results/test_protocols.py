"""The catalogue of protocols and what ``--metrics`` means."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

import pytest

from bench import protocols, registry
from bench.api import Failure, Metric, Protocol, UsageError, WeightFile


def _metric(name: str, *ids: str, lacking: str = "", default: bool = True) -> type[Metric]:
    made = tuple(
        Protocol(pid, (), frozenset(), frozenset(), "x", {}, "x", default=default and pid == ids[0]) for pid in ids
    )

    class Made(Metric):
        protocols = made

        def missing(self, protocol_id: str) -> list[str]:
            return [lacking] if lacking else []

        def score(self, *args: object) -> Mapping[str, Failure]:
            return {}

    Made.name = name
    return Made


@pytest.fixture(autouse=True)
def known(toy_metrics: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three metrics in place of all registered ones."""
    made = {
        "wer": _metric("wer", "wer/a@1", "wer/b@1"),
        "secs": _metric("secs", "secs/a@1"),
        "lse": _metric("lse", "lse/a@1", lacking="no weights: bench weights add FILE"),
    }
    monkeypatch.setattr(registry, "names", lambda group: sorted(made))
    monkeypatch.setattr(registry, "get", lambda group, name: made[name])


def ids(names: object, **options: object) -> list[str]:
    return list(protocols.select(names, **options).entries)


def test_auto_takes_the_defaults_that_can_run() -> None:
    selection = protocols.select("auto")
    assert list(selection.entries) == ["secs/a@1", "wer/a@1"]
    assert selection.skipped == {"lse/a@1": ["no weights: bench weights add FILE"]}
    assert selection.by_metric() == {"secs": ["secs/a@1"], "wer": ["wer/a@1"]}
    assert selection.get("wer/a@1").id == "wer/a@1"
    assert selection.metric("wer/a@1").name == "wer"


def test_all_families_and_ids() -> None:
    assert ids("all") == ["secs/a@1", "wer/a@1", "wer/b@1"]
    assert ids("wer") == ["wer/a@1", "wer/b@1"]
    assert ids("wer/b@1,secs") == ["secs/a@1", "wer/b@1"]
    assert ids(["wer/b@1", "auto"]) == ["secs/a@1", "wer/a@1", "wer/b@1"]
    assert ids("") == ids("auto")


def test_tables_ask_nothing_of_this_machine() -> None:
    assert ids("auto", runnable=False) == ids("all", runnable=False) == ["lse/a@1", "secs/a@1", "wer/a@1", "wer/b@1"]


def test_unknown_names_are_listed_at_once_with_the_nearest() -> None:
    with pytest.raises(UsageError) as error:
        protocols.select("wre,secs,lsee")
    assert "'wre'" in error.value.message
    assert "'lsee'" in error.value.message
    assert "'wer'" in error.value.hint
    assert "'lse'" in error.value.hint
    assert error.value.exit_code == 2


@pytest.mark.parametrize("name", ["lse", "lse/a@1"])
def test_what_is_named_must_run_here(name: str) -> None:
    with pytest.raises(UsageError, match="no weights: bench weights add FILE"):
        protocols.select(name)


def test_two_metrics_with_one_protocol_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    made = {"x": _metric("x", "wer/a@1"), "y": _metric("y", "wer/a@1")}
    monkeypatch.setattr(registry, "names", lambda group: sorted(made))
    monkeypatch.setattr(registry, "get", lambda group, name: made[name])
    with pytest.raises(UsageError, match="declared by two metrics: 'x' and 'y'"):
        protocols.catalogue()


def test_a_broken_plug_in_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = registry.get

    def get(group: str, name: str) -> type:
        if name == "secs":
            raise UsageError("metric 'secs' cannot be imported", "")
        return whole(group, name)

    monkeypatch.setattr(registry, "get", get)
    found = protocols.catalogue()
    assert set(found.entries) == {"wer/a@1", "wer/b@1", "lse/a@1"}
    with pytest.raises(UsageError) as error:
        protocols.select("secs")
    assert "metric 'secs' cannot be imported" in error.value.hint


def test_protocols_by_id() -> None:
    found = protocols.protocols_by_id()
    assert found["wer/b@1"][0] == "wer"
    assert found["wer/b@1"][1].id == "wer/b@1"


def test_hash_of_weights() -> None:
    one, two = (WeightFile(f"{n}.pt", n * 64, 1, "x", "x") for n in "ab")

    def made(*weights: WeightFile) -> str:
        return protocols.weights_sha256(
            Protocol("a/b@1", (), frozenset(), frozenset(), "x", {}, "x", weights=tuple(weights))
        )

    assert made() == ""
    assert made(one, two) == made(two, one)
    assert len({made(one), made(two), made(one, two)}) == 3


def test_importing_loads_no_numeric_library() -> None:
    code = "import sys, bench.protocols; sys.exit(any(m in sys.modules for m in ('numpy', 'torch', 'pandas')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_all_says_why_published_protocols_have_no_number() -> None:
    skipped = protocols.select("all").skipped
    assert skipped["lse/a@1"] == ["no weights: bench weights add FILE"]
    (line,) = skipped["wer/qwen3-asr@0"]
    assert "Qwen3-ASR" in line and "bench leaderboard --published" in line
    assert set(skipped) - {"lse/a@1"} == set(protocols.catalogue().absent)


def test_an_absent_protocol_is_refused_with_its_reason_and_not_as_unknown() -> None:
    for name in ("wer/qwen3-asr@0", "fvd"):
        for runnable in (True, False):
            with pytest.raises(UsageError, match="cannot be computed") as error:
                protocols.select(name, runnable=runnable)
            assert "unknown" not in error.value.message
            assert "--published" in error.value.hint


def test_a_protocol_that_a_plug_in_serves_is_not_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    made = {"wer": _metric("wer", "wer/qwen3-asr@0")}
    monkeypatch.setattr(registry, "names", lambda group: sorted(made))
    monkeypatch.setattr(registry, "get", lambda group, name: made[name])
    assert "wer/qwen3-asr@0" not in protocols.catalogue().absent
    assert ids("wer/qwen3-asr@0") == ["wer/qwen3-asr@0"]


def test_left_out_protocols_stand_by_reason() -> None:
    from bench.commands import left_out

    entries = {e.id: protocols.Entry("m", e) for e in (_judging("a/v@1", "video"), _judging("a/w@1", "video", "audio"))}
    chosen = protocols.Selection(entries, {"c/y@1": ["no x: bring x"], "b/z@1": ["no x: bring x"], "d/d@0": ["never"]})
    assert left_out.reasons(chosen) == {"no x: bring x": ["b/z@1", "c/y@1"], "never": ["d/d@0"]}
    grouped = left_out.reasons(chosen, ["vts"])
    assert "judges video of the output, and vts makes audio alone: --task a2v or t2av" in grouped
    assert sorted(pid for found in grouped.values() for pid in found) == ["a/v@1", "a/w@1", "b/z@1", "c/y@1", "d/d@0"]
    text = left_out.text(grouped, "without a number")
    assert text.splitlines()[0] == "without a number (5 protocols):"
    assert "    b/z@1, c/y@1" in text.splitlines()
    assert left_out.text({}, "x") == ""


def test_run_prints_what_all_left_out_under_the_tables(capsys: pytest.CaptureFixture[str]) -> None:
    from types import SimpleNamespace

    from bench.commands.run import _show_left_out, _tell_left_out

    chosen = protocols.select("all")
    plans = [SimpleNamespace(record=SimpleNamespace(task=task)) for task in ("vts", "vts", "tts")]
    _show_left_out(SimpleNamespace(plans=plans), chosen)  # type: ignore[arg-type]
    out = capsys.readouterr().out
    for pid in (*chosen.skipped, *chosen.entries):
        assert (pid in out) == (pid in chosen.skipped), pid  # the toys judge nothing, so every task will do
    said: list[str] = []
    _tell_left_out(said.append, protocols.select("auto"))
    assert said == ["left out (1 protocols):\n  no weights: bench weights add FILE\n    lse/a@1"]


def _judging(pid: str, *streams: str) -> Protocol:
    return Protocol(pid, (), frozenset(streams), frozenset(), "x", {}, "x")
