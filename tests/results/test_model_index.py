"""Model cards and JSON lines: the numbers of the table and of the clips, readable by others' tools."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from results_lab import TOY, Lab

from bench import cli
from bench.api import UsageError
from bench.results import export
from bench.results.leaderboard import build
from bench.results.model_index import model_indexes, write_cards


def cards(lab: Lab, folder: Path) -> dict[str, dict]:
    files = write_cards(build(lab.store), folder)
    return {file.name: yaml.safe_load(file.read_text(encoding="utf-8")) for file in files}


def test_one_file_per_system_has_every_value_of_its_rows(filled: Lab, tmp_path: Path) -> None:
    found = cards(filled, tmp_path / "cards")
    assert set(found) == {"ground-truth.yaml", "talker.yaml", "hicodit.yaml", "shuffled.yaml"}
    [section] = build(filled.store).sections
    for row in section.rows:
        [model] = found[f"{row.label}.yaml"]["model-index"]
        assert model["name"] == row.label
        [result] = model["results"]
        assert (result["task"]["type"], result["dataset"]["split"]) == ("video-to-speech", "test")
        told = {(metric["config"], metric["args"]["value"]): metric for metric in result["metrics"]}
        assert {key: metric["value"] for key, metric in told.items()} == {
            tuple(key): cell.value for key, cell in row.cells.items()
        }
        wer, cell = told["wer/toy@1", "wer"], row.cells["wer/toy@1", "wer"]
        assert (wer["type"], wer["name"], wer["args"]["unit"]) == ("wer", "WER", "fraction")
        assert wer["args"]["interval_95"] == list(cell.interval)
        assert (wer["args"]["run"], wer["args"]["tier"]) == (row.run.id, row.run.tier)


def test_huggingface_reads_them(filled: Lab, tmp_path: Path) -> None:
    repocard = pytest.importorskip("huggingface_hub.repocard")
    card_data = pytest.importorskip("huggingface_hub.repocard_data")
    text = write_cards(build(filled.store), tmp_path)[0].read_text(encoding="utf-8")
    index = yaml.safe_load(text)["model-index"]
    name, results = card_data.model_index_to_eval_results(index)
    assert name == index[0]["name"]
    assert [result.metric_value for result in results] == [m["value"] for m in index[0]["results"][0]["metrics"]]
    card = repocard.ModelCard(f"---\n{text}---\n# A card\n")
    assert card.data.model_name == name
    assert card.data.eval_results == results
    assert card_data.eval_results_to_model_index(name, results)[0]["results"][0]["dataset"]["type"] == "demo"


def test_conditions_of_one_system_stay_apart(lab: Lab) -> None:
    for pairing in ("matched", "cross"):
        lab.fill(lab.run("talker", task="a2v", pairing=pairing), protocols=["sim/toy@1"])
        lab.fill(lab.run("talker", pairing=pairing), protocols=["sim/toy@1"])
    [[model]] = model_indexes(build(lab.store)).values()
    configs = [result["dataset"]["config"] for result in model["results"]]
    assert configs == ["vts,pairing=cross,reference=other", "vts,pairing=matched,reference=other"]


def test_an_incomplete_cell_says_so_and_an_empty_one_is_left_out(lab: Lab) -> None:
    lab.fill(lab.run("talker", n=20), failing={1: "no_face"}, pending=[2], protocols=["sim/toy@1"])
    lab.store.add_run_protocols(lab.store.runs()[0].id, ["offset/toy@1"])
    [[model]] = model_indexes(build(lab.store)).values()
    [metric] = model["results"][0]["metrics"]
    assert metric["name"] == "SIM (18 of 20 clips)"
    assert [metric["args"][f"clips_{what}"] for what in ("scored", "failed", "pending")] == [18, 1, 1]


def test_names_that_are_no_file_names(lab: Lab, tmp_path: Path) -> None:
    for name in ("../up", "a/b", "a:b", "A_b"):
        lab.fill(lab.run(name), protocols=["sim/toy@1"])
    found = cards(lab, tmp_path / "cards")
    assert len(found) == 4
    assert {path.name for path in (tmp_path / "cards").iterdir()} == set(found)
    assert len({name.casefold() for name in found}) == 4
    assert {card["model-index"][0]["name"] for card in found.values()} == {"../up", "a/b", "a:b", "A_b"}


def test_no_value_is_an_error(lab: Lab, tmp_path: Path) -> None:
    lab.run("talker")
    with pytest.raises(UsageError, match="no run has a value"):
        write_cards(build(lab.store), tmp_path)


def test_json_lines_hold_the_rows(filled: Lab, tmp_path: Path) -> None:
    expected = list(export.records(filled.store, filled.store.runs()))
    assert export.write(iter(expected), tmp_path / "a.jsonl") == len(expected)
    lines = (tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == expected


def test_the_command_line(filled: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["--out", str(filled.store.root), "--plugin", str(TOY)]
    assert cli.invoke(["export", str(tmp_path / "cards"), "--format", "model-index", "--system", "talker", *base]) == 0
    assert [path.name for path in (tmp_path / "cards").iterdir()] == ["talker.yaml"]
    assert cli.invoke(["export", str(tmp_path / "rows"), "-f", "jsonl", *base]) == 0
    assert json.loads((tmp_path / "rows").read_text().splitlines()[0])["dataset"] == "demo"
    assert cli.invoke(["export", str(tmp_path / "rows.jsnol"), *base]) == 2
    assert "did you mean 'jsonl'" in capsys.readouterr().err
