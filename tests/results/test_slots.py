"""`bench slots`: words by slot, letters by viseme class, on hand-made transcripts."""

from __future__ import annotations

import csv
import io
from itertools import product
from pathlib import Path

import pytest
from results_lab import Lab

from bench.api import UsageError
from bench.cli import invoke
from bench.metrics.wer import SLOTS
from bench.results import letters, render_slots, slots
from bench.store_records import OutputRecord, RunRecord, ScoreRecord

SAID = "bin blue at b two again"


def test_words_are_compared_place_by_place() -> None:
    found = slots.count(
        [(SAID, SAID), (SAID, "bin red at p two again"), (SAID, "lay red by p one soon"), (SAID, "")], 2
    )
    assert dict(found.right) == {"command": 2, "colour": 1, "preposition": 2, "letter": 1, "digit": 2, "adverb": 2}
    assert (found.sentences, found.unheard, found.left_out) == (4, 1, 2)
    assert found.accuracy("colour") == 0.25 and found.mean == pytest.approx(10 / 24)
    assert dict(found.letters) == {("b", "b"): 1, ("b", "p"): 2}, "what was not heard is no confusion"
    assert found.confused() == [("b", "p", 2)]


def test_what_is_not_one_sentence_is_left_out() -> None:
    found = slots.count([(f"{SAID} {SAID}", SAID), ("hello there", ""), (SAID, SAID), ("bin blue at w two again", "")])
    assert (found.sentences, found.left_out, found.unheard) == (1, 3, 0)


def test_letters_that_look_alike() -> None:
    same, vowels = (letters.classes(kind) for kind in letters.KINDS)
    assert [group for group in same if len(group) > 1] == [("b", "p"), ("c", "z"), ("d", "t")]
    assert ("b", "c", "d", "e", "g", "p", "t", "v", "z") in vowels and ("q", "u") in vowels and ("i", "y") in vowels
    for groups in (same, vowels):
        assert sorted(letter for group in groups for letter in group) == sorted(SLOTS["letter"])
    assert letters.mouth_shapes("x") == ("eh", "KK", "SS") and letters.mouth_shapes("y") == ("WW", "aa", "ih")


def test_errors_inside_and_between_with_their_chance() -> None:
    confusions = {("b", "b"): 9, ("b", "p"): 3, ("b", "a"): 1, ("a", "b"): 2}
    same = letters.split("all mouth shapes", confusions)
    assert (same.inside, same.between, same.errors) == (3, 3, 6) and same.share == 0.5
    assert same.chance == pytest.approx(4 / 24 / 6), "a has no letter that looks like it"
    one = 1 / 24
    assert same.p == pytest.approx(4 * one**3 * (1 - one) + one**4)
    vowels = letters.split("vowel shapes", confusions)
    assert (vowels.inside, vowels.between) == (3, 3)
    assert vowels.chance == pytest.approx((4 * 8 / 24 + 2 * 3 / 24) / 6), "a shares its vowel with h, j, k"


def test_without_errors_there_is_nothing_to_tell() -> None:
    none = letters.split("vowel shapes", {("b", "b"): 3})
    assert (none.errors, none.share, none.p) == (0, None, 1.0)


def test_the_tail_is_that_of_all_outcomes() -> None:
    chances = (0.1, 0.5, 0.0, 0.3, 1.0)
    for least in range(len(chances) + 2):
        expected = 0.0
        for outcome in product((0, 1), repeat=len(chances)):
            if sum(outcome) >= least:
                weight = 1.0
                for happened, chance in zip(outcome, chances, strict=True):
                    weight *= chance if happened else 1 - chance
                expected += weight
        assert letters.at_least(least, chances) == pytest.approx(expected)


def test_the_best_reader_guesses_among_letters_that_look_alike() -> None:
    assert letters.best_reader("bpcx") == pytest.approx((0.5 * 3 + 1) / 4)
    assert letters.best_reader(SLOTS["letter"]) == pytest.approx(22 / 25)
    assert letters.best_reader("") is None


def _transcribed(lab: Lab, system: str, heard: list[str | None]) -> RunRecord:
    """A run whose clips all say :data:`SAID`; ``None``: the score failed."""
    run = lab.run(system, n=len(heard))
    scores = []
    for i, text in enumerate(heard):
        lab.store.add_output(OutputRecord(run.id, lab.clip(i).clip_id, "ok", f"{system}{i}"), {})
        key = (f"{system}{i}", lab.clip(i).reference_sha256, slots.PROTOCOL, "")
        texts = {"reference": SAID, "hypothesis": text or ""}
        scores.append(
            ScoreRecord(*key, "failed", kind="too_short")
            if text is None
            else ScoreRecord(*key, "ok", {"wer": 0.0, "macro": 0.0}, {"edits": 0.0, "ref_words": 6.0}, texts)
        )
    lab.store.add_run_protocols(run.id, [slots.PROTOCOL])
    lab.store.add_scores(scores)
    return run


def test_transcripts_of_a_store(lab: Lab, tmp_path: Path) -> None:
    run = _transcribed(lab, "hicodit", [SAID, "bin blue at p two again", None])
    _transcribed(lab, "ground-truth", [SAID, SAID])
    lab.fill(lab.run("talker"), protocols=["wer/toy@1"])
    found = slots.reports(lab.store)
    assert sorted(report.label for report in found) == ["ground-truth", "hicodit"], "talker has no transcripts"
    (mine,) = slots.reports(lab.store, [run.id[:10]])
    assert (mine.heard.sentences, mine.heard.left_out) == (2, 1) and mine.heard.accuracy("letter") == 0.5
    with pytest.raises(UsageError, match="'hicodot' is no system"):
        slots.reports(lab.store, ["hicodot"])
    with pytest.raises(UsageError, match="no transcript of a demo sentence"):
        slots.reports(lab.store, ["talker"])
    text = render_slots.render(found, "md")
    assert "b→p 1" in text and "### Words heard right, by slot" in text and "| hicodit · demo/test · vts | 2 |" in text
    assert "hicodit" in render_slots.render(found, "table")
    rows = list(csv.DictReader(io.StringIO(render_slots.render([mine], "csv"))))
    assert {(row["what"], row["item"]): row["count"] for row in rows}["letter heard wrong", "b>p"] == "1"
    assert next(row for row in rows if row["item"] == "all mouth shapes")["share"] == "1.0"
    with pytest.raises(UsageError, match="'html' is unknown"):
        render_slots.render(found, "html")


def test_the_verb(lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _transcribed(lab, "hicodit", [SAID, "bin blue at p two again"])
    file = tmp_path / "slots.csv"
    out = str(lab.store.root)
    lab.store.close()
    assert invoke(["slots", "hicodit", "--out", out, "-f", "csv", "--save", str(file)]) == 0
    assert file.read_text(encoding="utf-8").startswith("system,run_id,dataset,split,task,what,item,count,of,share")
    assert invoke(["slots", "--out", out]) == 0
    assert "Words heard right, by slot" in capsys.readouterr().out
    assert invoke(["slots", "--out", out, "--dataset", "lrs3"]) == 2
