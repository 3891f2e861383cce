"""The shipped small checkpoint of ``hicodit``: what it is, and what its speech is worth on the demo corpus."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import cli
from bench.embedded import facts
from bench.store import Store
from bench.systems.hicodit import weight_files
from bench.systems.hicodit.parts import joined_of, tiny_codec
from bench.systems.hicodit.sizes import TINY, Sizes
from bench.systems.hicodit.system import HiCoDiTSystem
from bench.weights import locate

WORDS = "wer/pocketsphinx-grid@1"
MOST_WER = 0.25  # measured on all 40 clips: 0.12
LEAST_SHUFFLED = 0.65

pytestmark = pytest.mark.skipif(
    any(locate(file) is None for file in weight_files.EMBEDDED), reason="the small checkpoint is not shipped"
)


def told() -> dict[str, str]:
    path = locate(weight_files.TINY)
    assert path is not None
    return dict(facts(path))


def test_nothing_is_missing() -> None:
    system = HiCoDiTSystem({"tier": "embedded"})
    assert system.weights == (weight_files.TINY, weight_files.TINY_CODEC)
    assert system.missing() == []


def test_it_is_the_tiny_configuration_and_knows_its_codec() -> None:
    assert Sizes(**json.loads(told()["sizes"])) == TINY
    codec = tiny_codec(None, "cpu")
    assert (told()["codec"], told()["codebooks"]) == (codec.name, codec.hash())
    assert (codec.levels, codec.codebook_size) == (TINY.levels, TINY.codes)


def test_it_has_two_to_four_million_numbers() -> None:
    joined = joined_of(None, "cpu", small=True)
    assert 2e6 <= sum(p.numel() for p in joined.parameters()) <= 4e6
    assert joined.voice is not None
    assert bool((joined.voice.std != 1).any())  # fitted


def test_it_loads_as_a_system() -> None:
    HiCoDiTSystem({"tier": "embedded"}).load("cpu", "float32")


@pytest.mark.slow
def test_its_words_are_those_of_the_lips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """18 clips of split ``test``, as ``make demo`` runs them: what is said follows the video, whose sound is hidden."""
    pytest.importorskip("pocketsphinx")
    pytest.importorskip("espeakng_loader")
    for name in ("BENCH_DATA", "BENCH_OUT", "BENCH_PLUGIN", "BENCH_LIMIT"):
        monkeypatch.delenv(name, raising=False)
    out = tmp_path / "store"
    assert cli.invoke(["data", "make", "demo", "--splits", "test"]) == 0
    command = ["run", "-q", "--system", "hicodit,shuffled", "--dataset", "demo", "--task", "vts", "--limit", "18"]
    assert cli.invoke([*command, "--metrics", WORDS, "--workers", "0", "--out", str(out)]) == 0
    with Store.open(out, write=False) as store:
        found = {run.system: wer(store, run.id) for run in store.runs(task="vts")}
    assert found["hicodit"] <= MOST_WER
    assert found["shuffled"] >= LEAST_SHUFFLED


def wer(store: Store, run_id: str) -> float:
    """Errors over words, of all clips."""
    column = store.scores(run_id, WORDS)
    assert column.ok.all() and column.n == 18
    return float(column.parts["edits"].sum() / column.parts["ref_words"].sum())
