"""Which clips a command works on, and which conditions a task has."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import conditions
from bench.errors import UsageError
from bench.records import Clip, Condition
from bench.selection import select


def clip(name: str) -> Clip:
    return Clip(name, "toy", "test", None, None, "hello", "0" * 64, 50)


CLIPS = [clip(f"s{speaker}-test-{number:03d}") for speaker in range(4) for number in range(10)]


def test_a_limit_is_a_fixed_sample_over_speakers_that_grows_by_addition() -> None:
    small, large = select(CLIPS, limit=8), select(CLIPS, limit=16)
    assert len(small) == 8 and {c.id for c in small} < {c.id for c in large}
    assert len({c.id[:2] for c in small}) >= 3
    assert select(list(reversed(CLIPS)), limit=8) == small


def test_globs_ids_and_files(tmp_path: Path) -> None:
    assert len(select(CLIPS, "s1-*")) == 10
    assert [c.id for c in select(CLIPS, "s2-test-003,s1-test-001")] == ["s1-test-001", "s2-test-003"]
    listing = tmp_path / "ids.txt"
    listing.write_text("s0-test-001\n\ns0-test-002\n")
    assert [c.id for c in select(CLIPS, f"@{listing}")] == ["s0-test-001", "s0-test-002"]


def test_a_selection_that_matches_nothing_says_what_is_near(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="matches none of 40 clips") as caught:
        select(CLIPS, "s1-test-0O1")
    assert "s1-test-001" in caught.value.hint
    listing = tmp_path / "ids.txt"
    listing.write_text("s0-test-001\ns9-test-000\n")
    with pytest.raises(UsageError, match=r"ids.txt:2: 's9-test-000'"):
        select(CLIPS, f"@{listing}")
    with pytest.raises(UsageError, match="No such file"):
        select(CLIPS, f"@{tmp_path / 'absent'}")
    listing.write_text("\n")
    with pytest.raises(UsageError, match="names no clip"):
        select(CLIPS, f"@{listing}")


def test_parts_of_a_condition_that_mean_nothing_are_empty() -> None:
    assert conditions.condition_for("tts", "matched", "real", None) == Condition("", "", "other")
    assert conditions.condition_for("vts", "matched", "real", "same") == Condition("", "", "same")
    assert conditions.condition_for("a2v", "cross", "tts", None) == Condition("cross", "tts", "none")


def test_conditions_that_a_task_does_not_have_are_refused() -> None:
    with pytest.raises(UsageError, match="no driving audio or text"):
        conditions.condition_for("vts", "cross", "real", None)
    with pytest.raises(UsageError, match="not driven by audio"):
        conditions.condition_for("dub", "matched", "tts", None)
    with pytest.raises(UsageError, match="unknown") as caught:
        conditions.condition_for("vts", "matched", "real", "othr")
    assert "'other'" in caught.value.hint
