"""From files of answers to the store and its tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import study_of
from study_lab import SYSTEMS, bench, filled, write

from bench.protocols import catalogue, select
from bench.results import export, published, render_terminal
from bench.results.leaderboard import build
from bench.results.study.judge import judge
from bench.results.study.make import Made
from bench.results.table import Cell, Table
from bench.store import Store


@pytest.fixture
def made(own_store: Path, tmp_path: Path) -> Made:
    """The study of opinions on a store that can be written."""
    return study_of(own_store, tmp_path / "study", clips=4, participants=6)


def answered(made: Made, folder: Path, n: int = 6, **how: Any) -> list[Path]:
    return [write(folder, f"{made.key.kind}-{p}.json", filled(made.key, p, **how)) for p in list(made.key.sheets)[:n]]


def read(capsys: Any, files: list[Path], made: Made, store: Path, *more: str) -> tuple[int, str, str]:
    return bench(capsys, "study", "read", *files, "--study", made.key_file, "--out", store, *more)


def table_of(store: Path) -> Table:
    with Store.open(store, write=False) as opened:
        return build(opened)


def cells(table: Table, protocol: str, value: str) -> dict[str, Cell]:
    rows = table.sections[0].rows
    return {row.label: cell for row in rows for key, cell in row.cells.items() if key == (protocol, value)}


def test_opinions_reach_the_leaderboard(made: Made, own_store: Path, tmp_path: Path, capsys: Any) -> None:
    files = answered(made, tmp_path)
    code, out, err = read(capsys, files, made, own_store)
    assert code == 0 and "6 participants, 0 files refused" in out and "12 scores of study/mos-sync@1" in err
    # people whose code begins with an odd letter give half a step more
    bonus = np.mean([0.5 if ord(person[0]) % 2 else 0.0 for person in made.key.sheets])
    table = table_of(own_store)
    for protocol, extra in (("study/mos-naturalness@1", 0.0), ("study/mos-sync@1", 0.5)):
        found = cells(table, protocol, "mos")
        assert {s: found[s].value for s in SYSTEMS} == pytest.approx(
            {"ground-truth": 4 + extra + bonus, "hicodit": 3 + extra + bonus, "talker": 2 + extra + bonus}
        )
        # four of six clips were judged: the others are neither failed nor to do, and the cell is ranked
        assert [(found[s].n_scored, found[s].n_failed, found[s].n_pending) for s in SYSTEMS] == [(4, 0, 0)] * 3
        assert found["hicodit"].best and found["hicodit"].rank == 1 and found["talker"].rank == 2
    assert all(row.complete and not row.limited for row in table.sections[0].rows)


def test_every_participant_hears_every_version_here_so_that_counts_are_known(
    made: Made, tmp_path: Path, own_store: Path, capsys: Any
) -> None:
    _, out, _ = read(capsys, answered(made, tmp_path), made, own_store, "--json", "--no-store")
    told = json.loads(out)
    assert [(one["label"], one["n"], one["n_people"]) for one in told["results"][:3]] == [
        ("ground-truth", 24, 6),
        ("hicodit", 24, 6),
        ("talker", 24, 6),
    ]
    assert told["agreement"]["naturalness"] > 0.8
    first = told["results"][0]
    assert first["interval"][0] < first["mean"] < first["interval"][1]
    assert first["over_people"][1] - first["over_people"][0] > first["interval"][1] - first["interval"][0]


def test_preference_reaches_the_leaderboard(own_store: Path, tmp_path: Path, capsys: Any) -> None:
    made = study_of(own_store, tmp_path / "ab", kind="preference", questions=("preference",), clips=3, participants=6)

    def thinks(person: str, question: str, label: str) -> float:
        return {"ground-truth": 2.0, "hicodit": 1.0, "talker": 1.0}[label]

    code, out, _ = read(capsys, answered(made, tmp_path, thinks=thinks), made, own_store)
    assert code == 0
    line = next(line for line in out.splitlines() if line.startswith("ground-truth  all others"))
    assert line.split()[3] == "100.0" and line.split()[-2:] == ["36", "6"]
    table = table_of(own_store)
    share, wins = (cells(table, "study/preference@1", name) for name in ("preference", "win_rate"))
    assert {s: share[s].value for s in SYSTEMS} == {"ground-truth": 1.0, "hicodit": 0.25, "talker": 0.25}
    assert {s: wins[s].value for s in SYSTEMS} == {"ground-truth": 1.0, "hicodit": 0.0, "talker": 0.0}
    pair = next(line for line in out.splitlines() if line.startswith("talker        hicodit")).split()
    assert pair[2] == "50.0" and pair[-4:] == ["100.0", "0.0", "18", "6"]  # all tied: half a win each


def test_reading_again_changes_nothing_and_more_answers_take_over(
    made: Made, own_store: Path, tmp_path: Path, capsys: Any
) -> None:
    files = answered(made, tmp_path, 3)
    assert read(capsys, files, made, own_store)[0] == 0
    with Store.open(own_store, write=False) as store:
        before = store.digest()
    first = cells(table_of(own_store), "study/mos-sync@1", "mos")["talker"]
    assert read(capsys, files[::-1], made, own_store)[0] == 0
    with Store.open(own_store, write=False) as store:
        assert store.digest() == before and store.conflicts() == []
    files.append(write(tmp_path, "more.json", filled(made.key, list(made.key.sheets)[3], lambda *_: 5.0)))
    assert read(capsys, files, made, own_store)[0] == 0
    second = cells(table_of(own_store), "study/mos-sync@1", "mos")["talker"]
    assert second.value is not None and first.value is not None and second.value > first.value
    assert second.panel != first.panel


def test_rows_of_different_panels_are_not_ranked(made: Made, own_store: Path, tmp_path: Path, capsys: Any) -> None:
    assert read(capsys, answered(made, tmp_path), made, own_store)[0] == 0
    from bench.progress import Progress
    from bench.results.study.make import Plan, chosen, make

    with Store.open(own_store, write=False) as store:
        runs = chosen(store, ["talker"])
        other = make(
            store, runs, Plan(clips=3, participants=2), tmp_path / "o", tmp_path / "o.json", None, Progress(True)
        )  # fmt: skip
    files = [write(tmp_path, f"o{p}.json", filled(other.key, p)) for p in other.key.sheets]
    assert read(capsys, files, other, own_store)[0] == 0
    table = table_of(own_store)
    found = cells(table, "study/mos-sync@1", "mos")
    assert found["talker"].panel != found["hicodit"].panel
    assert [cell.rank for cell in found.values()] == [None] * 3
    assert any("not comparable, not ranked" in note for note in table.sections[0].notes)


def test_answers_belong_to_the_store_of_the_runs(made: Made, tmp_path: Path, capsys: Any) -> None:
    code, _, err = read(capsys, answered(made, tmp_path, 1), made, tmp_path / "nowhere")
    assert code == 1 and "no store" in err and not (tmp_path / "nowhere").exists()
    with Store.open(tmp_path / "empty"):
        pass
    code, _, err = read(capsys, answered(made, tmp_path, 1), made, tmp_path / "empty")
    assert code == 0 and "12 judged outputs are not in this store" in err


def test_unplayable_clips_are_counted_not_rated(made: Made, tmp_path: Path) -> None:
    from study_lab import signed

    from bench.results.study.answers import read_all

    content = filled(made.key, next(iter(made.key.sheets)))
    fine = [t for t in content["trials"] if t["stimuli"][0] in made.key.stimuli][:2]
    for trial in fine:
        trial.update(ratings={}, unplayable=True)
    accepted, _ = read_all([write(tmp_path, "a.json", signed(content))], made.key)
    judged = judge(accepted, made.key)
    assert judged.unplayable == 2 and len(judged.marks) == 2 * (12 - 2)


def test_export_has_the_judged_clips_alone(made: Made, own_store: Path, tmp_path: Path, capsys: Any) -> None:
    assert read(capsys, answered(made, tmp_path), made, own_store)[0] == 0
    with Store.open(own_store, write=False) as store:
        rows = list(export.records(store, store.runs(system="talker"), "study"))
    opinions = [row for row in rows if row["value_name"] == "mos"]
    assert len(opinions) == 8 and {row["status"] for row in opinions} == {"ok"}


def test_long_headings_break_no_number_on_a_terminal(made: Made, own_store: Path, tmp_path: Path, capsys: Any) -> None:
    read(capsys, answered(made, tmp_path), made, own_store)
    table = table_of(own_store)
    for width in (60, 65, 70, 75, 80, 120):
        lines = render_terminal.to_text(table, width=width).splitlines()
        frame = lines[: next(i for i, line in enumerate(lines) if line.startswith("└"))]
        assert max(map(len, frame)) <= width
        assert "MOS-naturalness" in "".join(frame) and "…" not in "".join(frame)


def test_papers_own_listening_tests_stand_beside(own_store: Path, tmp_path: Path, made: Made, capsys: Any) -> None:
    with Store.open(own_store, write=False) as store:
        assert published.listening_blocks(build(store)) == []  # nobody has been asked yet
    read(capsys, answered(made, tmp_path), made, own_store)
    table = table_of(own_store)
    assert published.listening_blocks(table) == []  # no paper asked people about t2av systems of these names


def test_the_published_numbers_of_hicodit(own_store: Path, tmp_path: Path, capsys: Any) -> None:
    """MOS 3.17 and a win rate of 57 stand below a vts table that has judgements of people."""
    from study_lab import add_run

    from bench.store_records import ScoreRecord

    with Store.open(tmp_path / "vts") as store:
        run = add_run(store, "hicodit", task="vts")
        clip, output = store.run_clips(run.id)[0], store.outputs(run.id)["clip0"]
        parts = {"rating_sum": 3.0, "ratings": 1.0}
        key = (output.sha256 or "", clip.reference_sha256, "study/mos-naturalness@1", "panel")
        store.add_scores([ScoreRecord(*key, "ok", {"mos": 3.0}, parts)])
    code, out, _ = bench(capsys, "leaderboard", "--out", tmp_path / "vts", "--published", "--format", "md")
    assert code == 0
    mos = next(line for line in out.splitlines() if line.startswith("| HiCoDiT |") and "Table 3" in line)
    assert mos.split("|")[5].strip() == "3.17"
    wins = next(line for line in out.splitlines() if line.startswith("| HiCoDiT vs AlignDiT |"))
    assert wins.split("|")[5].strip() == "57.00"
    assert "opinions compare inside one test alone" in out


def test_no_program_computes_a_judgement() -> None:
    known = catalogue()
    ids = [pid for pid in known.entries if pid.startswith("study/")]
    assert ids == ["study/mos-naturalness@1", "study/mos-sync@1", "study/preference@1"]
    assert all("bench study make" in known.missing(pid)[0] for pid in ids)
    chosen = select("all")
    assert not set(ids) & set(chosen.entries) and set(ids) <= set(chosen.skipped)
    assert not known.entries["study/mos-sync@1"].protocol.applies_to("tts")
    assert known.entries["study/mos-naturalness@1"].protocol.applies_to("tts")
