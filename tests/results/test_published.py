"""Numbers of papers: units, recipes, blocks apart, bands."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from results_lab import Lab

from bench.api import Protocol, Value
from bench.results import leaderboard, published, render
from bench.results.table import Key

SHARED = Path(__file__).parents[3] / "shared"


def test_the_copy_is_the_file_that_the_project_started_from() -> None:
    original = SHARED / "published_results.csv"
    if not original.is_file():
        pytest.skip("../shared/published_results.csv is missing")
    assert (published.FOLDER / "published_results.csv").read_bytes() == original.read_bytes()


def test_all_rows_load() -> None:
    rows = published.load()
    assert len(rows) == 2964 + 12
    assert {row.direction for row in rows} == {"higher", "lower", ""}
    assert {row.metric for row in rows if not row.direction} == {"Neutral-rate"}
    assert {row.unit for row in rows} <= {"fraction", "1", "dB", "Hz", "score 1-5"}


@pytest.mark.parametrize(
    ("printed", "unit", "expected"),
    [("4.47", "%", (0.0447, "fraction")), ("50.1", "x100", (0.501, "fraction")),
     ("0.055", "fraction", (0.055, "fraction")), ("26.53", "dB", (26.53, "dB")), ("3.05", "", (3.05, "1"))],
)  # fmt: skip
def test_units_become_fractions_exactly(printed: str, unit: str, expected: tuple[float, str]) -> None:
    assert published.to_fraction(printed, unit) == expected


@pytest.mark.parametrize(
    ("source", "metric", "protocol"),
    [("seed-003", "WER", "wer/whisper-large-v3@1"), ("seed-003", "SECS", "secs/resemblyzer@1"),
     ("seed-003", "SSIM", "ssim/unspecified@0"), ("2604.15923", "WER", "wer/hicodit-paper@0"),
     ("2604.15923", "SIM", "spksim/ecapa-tdnn-speechbrain@0"), ("2008.10010", "LSE-C", "lse/unspecified@0"),
     ("2604.23586", "CER", "cer/qwen3-asr@0"), ("2303.17480", "PSNR", "psnr/unspecified@0")],
)  # fmt: skip
def test_recipes(source: str, metric: str, protocol: str) -> None:
    assert published.protocol_of(source, metric) == protocol


def test_no_published_row_claims_a_recipe_of_the_offline_metrics_by_chance() -> None:
    claimed = {row.protocol for row in published.load() if not row.protocol.endswith("@0")}
    assert claimed == {"wer/whisper-large-v3@1", "secs/resemblyzer@1", "utmos/strong-learner@1"}


@pytest.fixture
def lrs3(lab: Lab) -> Lab:
    lab.fill(lab.run("ground-truth", tier="control", dataset="lrs3"), 0.0, seed=1)
    lab.fill(lab.run("hicodit", dataset="lrs3"), 0.4, seed=2)
    return lab


def test_published_rows_follow_the_measured_ones_and_are_never_ranked(lrs3: Lab) -> None:
    table = leaderboard.build(lrs3.store)
    blocks = published.blocks(table)
    rows = json.loads(render.render(table, "json", published=blocks))
    sources = [row["source"] for row in rows]
    first = next(i for i, source in enumerate(sources) if source != "measured")
    assert "measured" not in sources[first:]
    assert set(sources[first:]) <= {row.place.source for row in published.load()}
    for row in rows[first:]:
        assert (row["dataset"], row["task"], row["tier"]) == ("LRS3", "vts", "published")
        assert row["ci_low"] is row["n_scored"] is None
        assert row["metric"] != "WER" or row["value"] < 2
        assert "ablation" not in row["run_id"]
    assert rows[:first] == json.loads(render.render(table, "json"))
    identity = [(r["source"], r["run_id"], r["split"], r["system"], r["metric"]) for r in rows[first:]]
    assert len(set(identity)) == len(identity)


def test_known_numbers_stand_in_the_block(lrs3: Lab) -> None:
    (block,) = published.blocks(leaderboard.build(lrs3.store))
    found = {(r.place.source, r.system, r.metric): r.value for r in block.rows}
    assert found["2604.15923", "Ground Truth", "WER"] == 0.0229
    spread = next(s for s in block.spreads if (s.system, s.metric) == ("Ground Truth", "WER"))
    printed = {r.value for r in block.rows if (r.system, r.metric) == ("Ground Truth", "WER")}
    assert (spread.low, spread.high) == (min(printed), max(printed)) == (0.0099, 0.025)


@pytest.mark.parametrize("name", ["table", "md", "latex", "html"])
def test_readable_formats_have_a_block_of_its_own(lrs3: Lab, name: str) -> None:
    table = leaderboard.build(lrs3.store)
    text = render.render(table, name, published=published.blocks(table))
    assert text.index("PUBLISHED, not measured here") > text.rindex("embedded")
    assert "2604.15923" in text
    assert "Table 1" in text
    assert "PUBLISHED, not" not in render.render(table, name)


def test_published_terminal_block_fits_a_hundred_columns(lrs3: Lab) -> None:
    table = leaderboard.build(lrs3.store)
    text = render.render(table, "table", published=published.blocks(table))
    assert max(len(line) for line in text.splitlines()) <= 100


def test_no_block_for_data_that_no_paper_uses(filled: Lab) -> None:
    table = leaderboard.build(filled.store)
    assert published.blocks(table) == []


def test_dubbing_rows_belong_to_the_dub_task() -> None:
    tasks = {published.task_of(row) for row in published.load() if row.task == "tts" and row.place.setting[:3] == "dub"}
    assert tasks == {"dub"}
    assert {published.task_of(row) for row in published.load()} == {"vts", "dub", "a2v", "t2av", "tts"}


def test_conditions_that_a_paper_names_are_in_the_tidy_columns(lab: Lab) -> None:
    lab.fill(lab.run("talker", dataset="lrs2", task="a2v"))
    table = leaderboard.build(lab.store)
    rows = list(csv.DictReader(io.StringIO(render.render(table, "csv", published=published.blocks(table)))))
    seed = [row for row in rows if row["source"] == "seed-003"]
    assert {(row["audio"], row["pairing"]) for row in seed} == {
        ("real", "matched"), ("tts", "matched"), ("real", "cross"), ("tts", "cross")
    }  # fmt: skip


def test_bands_agree_with_the_specification() -> None:
    spec = SHARED / "specs" / "published.md"
    if not spec.is_file():
        pytest.skip("../shared/specs/published.md is missing")
    text = spec.read_text(encoding="utf-8").split("## 7.")[1].split("## 8.")[0]
    lines = re.findall(r"^\| (\w+) \| ([\w-]+) \| ([\d.]+) \| [\d.]+ \| ([\d.]+) \| (\d+) \|$", text, re.M)
    assert len(lines) == len(published.bands()) == 18
    for dataset, metric, low, high, sources in lines:
        band = published.bands()[dataset, metric]
        scale = 100 if metric == "WER" else 1
        assert (band.low * scale, band.high * scale) == pytest.approx((float(low), float(high)))
        assert band.sources == int(sources)


def test_bands_are_widened_by_a_tenth() -> None:
    band = published.Band("LRS3", "DNSMOS", 2.0, 3.0, 4)
    assert [band.holds(value) for value in (1.79, 1.81, 2.5, 3.29, 3.31)] == [False, True, True, True, False]


def _protocol(pid: str, *labels: str) -> Protocol:
    values = tuple(Value(label.lower(), label, "lower", "1") for label in labels)
    return Protocol(pid, values, frozenset(), frozenset(), "x", {}, "x")


def test_bands_apply_to_the_right_values() -> None:
    lse = _protocol("lse/syncnet-v2-wav2lip@1", "LSE-C", "LSE-D")
    assert [published.band_for("lrs2", lse, value).low for value in lse.values] == [5.360, 6.204]
    dnsmos = _protocol("dnsmos/speechmos@1", "DNSMOS", "SIG")
    assert published.band_for("lrs3", dnsmos, dnsmos.values[0]).high == 3.30
    assert published.band_for("lrs3", dnsmos, dnsmos.values[1]) is None
    assert published.band_for("demo", dnsmos, dnsmos.values[0]) is None


def test_ground_truth_outside_the_band_is_flagged_and_inside_is_not(lrs3: Lab) -> None:
    (section,) = leaderboard.build(lrs3.store).sections
    truth = next(row for row in section.rows if row.ground_truth)
    assert truth.cells[Key("wer/toy@1", "wer")].value > 0.03
    flags = [note for note in section.notes if note.startswith("OUTSIDE THE PUBLISHED BAND")]
    assert len(flags) == 1
    assert "WER (wer/toy@1)" in flags[0]
    assert "0.99 to 2.50" in flags[0]


def test_other_systems_and_other_data_are_not_flagged(filled: Lab) -> None:
    (section,) = leaderboard.build(filled.store).sections
    assert not [note for note in section.notes if "BAND" in note]


def test_system_names_match_without_case_and_hyphens() -> None:
    assert published.same_system("ground-truth", "Ground Truth")
    assert published.same_system("wav2lip", "Wav2Lip")
    assert not published.same_system("wav2lip", "Wav2Lip+GAN")
