"""Files of answers: which count, and for what reason the others do not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from study_lab import bench, filled, signed, write

from bench.api import UsageError
from bench.results.study import key as keys
from bench.results.study.answers import read_all
from bench.results.study.make import Made

Change = Callable[[dict[str, Any]], Any]


def people(made: Made) -> list[str]:
    return list(made.key.sheets)


def verdict(made: Made, *files: Path) -> list[tuple[str, str]]:
    return [(one.reason, one.detail) for one in read_all(files, made.key)[1]]


def test_whole_files_count_in_a_fixed_order(opinions: Made, tmp_path: Path) -> None:
    files = [write(tmp_path, f"{i}.json", filled(opinions.key, person)) for i, person in enumerate(people(opinions))]
    accepted, refused = read_all(files, opinions.key)
    assert [person.participant for person in accepted] == sorted(people(opinions)) and not refused
    again, _ = read_all(files[::-1], opinions.key)
    assert [person.participant for person in again] == [person.participant for person in accepted]


def test_a_file_saved_by_an_editor_of_windows_counts(opinions: Made, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(filled(opinions.key, people(opinions)[0]), indent=2).encode())
    assert read_all([path], opinions.key)[1] == []


BROKEN: list[tuple[str, Change, str]] = [
    ("no JSON", lambda c: "{", "not a JSON file"),
    ("cut", lambda c: json.dumps(c)[:-40], "not a JSON file"),
    ("empty", lambda c: "", "not a JSON file"),
    ("deep", lambda c: "[" * 100_000, "not a JSON file"),
    ("a list", lambda c: [c], "no answers of a study"),
    ("another schema", lambda c: {**c, "schema": 2}, "no answers of a study"),
    ("no trials", lambda c: {**c, "trials": None}, "no answers of a study"),
    ("a trial that is none", lambda c: {**c, "trials": [3]}, "trial 1: not of the form"),
    ("stimuli that are no names", lambda c: _first(c, stimuli=[1]), "trial 1: not of the form"),
    ("a question too many", lambda c: _first(c, ratings={"naturalness": 3, "sync": 3, "x": 1}), "trial 1: answers to"),
    ("a question too few", lambda c: _first(c, ratings={"sync": 3}), "trial 1: answers to ['sync']"),
    ("off the scale", lambda c: _first(c, ratings={"naturalness": 5.5, "sync": 3}), "5.5 is not on the scale"),
    ("between the steps", lambda c: _first(c, ratings={"naturalness": 3.2, "sync": 3}), "3.2 is not on the scale"),
    ("a word", lambda c: _first(c, ratings={"naturalness": "3", "sync": 3}), "'3' is not on the scale"),
    ("a truth value", lambda c: _first(c, ratings={"naturalness": True, "sync": 3}), "True is not on the scale"),
    ("no number", lambda c: _first(c, ratings={"naturalness": float("nan"), "sync": 3}), "NaN is no number"),
    ("rated unheard", lambda c: _first(c, unplayable=True), "rated although it did not play"),
    ("altered", lambda c: _first(c, ratings={"naturalness": 5, "sync": 5}), "the checksum does not fit"),
    ("another order", lambda c: signed({**c, "trials": c["trials"][::-1]}), "not the trials of this"),
    ("a trial too many", lambda c: signed({**c, "trials": [*c["trials"], c["trials"][0]]}), "not the trials of"),
]  # fmt: skip


def _first(content: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**content, "trials": [{**content["trials"][0], **changes}, *content["trials"][1:]]}


@pytest.mark.parametrize(("change", "told"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_broken_files_are_refused(opinions: Made, tmp_path: Path, change: Change, told: str) -> None:
    path = write(tmp_path, "a.json", change(filled(opinions.key, people(opinions)[0])))
    ((reason, detail),) = verdict(opinions, path)
    assert reason == "broken" and told in detail


def test_what_is_no_file_of_answers_is_refused(opinions: Made, tmp_path: Path) -> None:
    big = tmp_path / "big.json"
    big.write_bytes(b" " * (5 * 2**20))
    binary = tmp_path / "binary.json"
    binary.write_bytes(b"\xff\xfe\x00")
    found = verdict(opinions, tmp_path, tmp_path / "nowhere.json", big, binary)
    assert [reason for reason, _ in found] == ["broken"] * 4
    assert "cannot be read" in found[0][1] and "larger than 4 MiB" in found[2][1] and "not a JSON" in found[3][1]


def test_foreign_files_are_refused(opinions: Made, pairs: Made, tmp_path: Path) -> None:
    other = write(tmp_path, "other.json", filled(pairs.key, people(pairs)[0]))
    stranger = write(
        tmp_path, "stranger.json", signed({**filled(opinions.key, people(opinions)[0]), "participant": "ME"})
    )
    assert verdict(opinions, other, stranger) == [
        ("foreign", f"answers of study '{pairs.key.study}', not of {opinions.key.study}"),
        ("foreign", "participant 'ME' is none of this study"),
    ]


def test_incomplete_files_are_refused(opinions: Made, tmp_path: Path) -> None:
    content = filled(opinions.key, people(opinions)[0])
    half = write(tmp_path, "half.json", signed({**content, "trials": content["trials"][:9]}))
    assert verdict(opinions, half) == [("incomplete", "9 of 14 trials are answered")]


def test_inattentive_opinions_are_refused(opinions: Made, tmp_path: Path) -> None:
    content = filled(opinions.key, people(opinions)[0])
    check = next(t for t in content["trials"] if t["stimuli"][0] in opinions.key.checks)
    check["ratings"]["sync"] = 2.0  # low enough
    assert verdict(opinions, write(tmp_path, "fine.json", signed(content))) == []
    check["ratings"]["sync"] = 2.5
    found = verdict(opinions, write(tmp_path, "asleep.json", signed(content)))
    assert found == [("missed-attention", "1 of 2 checks of attention are missed")]


@pytest.mark.parametrize("answer", [0.0, "spoilt"])
def test_inattentive_comparisons_are_refused(pairs: Made, tmp_path: Path, answer: Any) -> None:
    content = filled(pairs.key, people(pairs)[0])
    check = next(t for t in content["trials"] if any(name in pairs.key.checks for name in t["stimuli"]))
    spoilt = 1.0 if check["stimuli"][0] in pairs.key.checks else 2.0
    check["ratings"]["preference"] = spoilt if answer == "spoilt" else answer
    assert verdict(pairs, write(tmp_path, "a.json", signed(content)))[0][0] == "missed-attention"


def test_clips_that_did_not_play_are_no_answers_but_checks_must_play(opinions: Made, tmp_path: Path) -> None:
    content = filled(opinions.key, people(opinions)[0])
    fine = next(t for t in content["trials"] if t["stimuli"][0] not in opinions.key.checks)
    check = next(t for t in content["trials"] if t["stimuli"][0] in opinions.key.checks)
    fine.update(ratings={}, unplayable=True)
    assert verdict(opinions, write(tmp_path, "fine.json", signed(content))) == []
    check.update(ratings={}, unplayable=True)
    assert verdict(opinions, write(tmp_path, "a.json", signed(content)))[0][0] == "missed-attention"


def test_the_same_answers_twice_count_once(opinions: Made, tmp_path: Path) -> None:
    content = filled(opinions.key, people(opinions)[0])
    first, copy = write(tmp_path, "first.json", content), write(tmp_path, "copy.json", {**content, "saved": "later"})
    accepted, refused = read_all([first, copy], opinions.key)
    assert [one.file for one in accepted] == [str(first)]
    assert [(one.file, one.reason) for one in refused] == [(str(copy), "duplicate")]


def test_two_different_files_of_one_participant_both_fail(opinions: Made, tmp_path: Path) -> None:
    person, other = people(opinions)[:2]
    first = write(tmp_path, "first.json", filled(opinions.key, person))
    second = write(tmp_path, "second.json", filled(opinions.key, person, lambda *_: 5.0))
    fine = write(tmp_path, "fine.json", filled(opinions.key, other))
    accepted, refused = read_all([first, fine, second], opinions.key)
    assert [one.participant for one in accepted] == [other]
    assert [(one.file, one.reason) for one in refused] == [
        (str(first), "contradicting"),
        (str(second), "contradicting"),
    ]
    assert "second.json" in refused[0].detail and person in refused[0].detail


def test_an_incomplete_file_does_not_contradict_the_whole_one(opinions: Made, tmp_path: Path) -> None:
    content = filled(opinions.key, people(opinions)[0])
    half = write(tmp_path, "half.json", signed({**content, "trials": content["trials"][:5]}))
    accepted, refused = read_all([half, write(tmp_path, "whole.json", content)], opinions.key)
    assert len(accepted) == 1 and [one.reason for one in refused] == ["incomplete"]


def test_refused_files_are_listed_and_nothing_left_is_an_error(
    opinions: Made, tmp_path: Path, filled_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = write(tmp_path, "bad.json", "{")
    code, out, err = bench(capsys, "study", "read", bad, "--study", opinions.key_file, "--out", filled_store)
    assert code == 1 and out == ""
    assert f"refused: {bad}: broken: not a JSON file" in err and "none of 1 files of answers counts" in err


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "No such file"), ("{", "not a JSON"), ("[]", "no key of a study"), ('{"schema": 1}', "incomplete or")],
)
def test_a_wrong_key_is_refused(tmp_path: Path, content: str | None, told: str) -> None:
    path = tmp_path / "x.key.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match=told):
        keys.load(path)
