"""Trees in the layouts of LRS3, LRS2 and CinePile, made of demo clips, on the whole road: check, run, tables.

Four clips, two speakers; scored by what is cheap and by dlib, each test on as few of them as will do.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
import yaml
from e2e_kit import HERE

from bench import cli
from bench.espeak import available
from bench.media import Source, decode_audio, decode_video, probe
from bench.store import Store

sys.path.insert(0, str(HERE.parent / "datasets"))
import trees

CLIPS = ("s1-test-0001", "s1-test-0002", "s2-test-0001", "s2-test-0002")
FRAMES = 64  # of a clip: a sentence and little around it
SYSTEMS = "ground-truth,shuffled,still-face"
LRS3 = [f"test/demo_____{name}" for name in ("s1/00001", "s1/00002", "s2/00001", "s2/00002")]
OFFICIAL = HERE.parent / "systems" / "official_script.py"


@dataclass(frozen=True)
class Told:
    """What one command said."""

    code: int
    out: str
    err: str


Bench = Callable[..., Told]


@pytest.fixture
def bench(capsys: pytest.CaptureFixture[str]) -> Bench:
    """``bench …`` in this process (and two workers), expected to succeed unless ``code`` says otherwise."""

    def call(*arguments: object, code: int = 0) -> Told:
        capsys.readouterr()
        found = cli.invoke([str(argument) for argument in arguments])
        said = capsys.readouterr()
        assert found == code, said.err
        assert "Traceback" not in said.err and "internal error" not in said.err, said.err
        return Told(found, said.out, said.err)

    return call


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Four clips of the demo corpus' test split, written as ``bench data make demo`` does, but shorter."""
    cv2 = pytest.importorskip("cv2")
    threadpoolctl = pytest.importorskip("threadpoolctl")
    if missing := available():
        pytest.skip(missing[0])
    from bench.datasets.demo.clip_files import write_clip
    from bench.datasets.demo.sentences import plan_corpus

    root = tmp_path_factory.mktemp("demo")
    plans = {plan.id: plan for plan in plan_corpus()["test"]}
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    with threadpoolctl.threadpool_limits(1):
        for clip_id in CLIPS:
            write_clip(root, replace(plans[clip_id], n_frames=FRAMES))
    cv2.setNumThreads(before)
    yield root


@pytest.fixture(scope="module")
def data(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The parent of ``lrs3``, ``lrs2`` and ``cinepile``."""
    root = tmp_path_factory.mktemp("data")
    for kind in ("lrs3", "lrs2", "cinepile"):
        assert len(trees.demo_tree(kind, demo, root / kind)) == 4
    return root


@pytest.fixture(scope="module")
def lrs3_store(data: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three systems on LRS3's layout, all four clips (one for faces' identity); nothing changes it."""
    store = tmp_path_factory.mktemp("lrs3") / "store"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE", str(cache))
        words = ["-q", "--system", SYSTEMS, "--dataset", "lrs3", "--data-root", data, "--out", store, "--workers", 2]
        first = ["run", *words, "--task", "a2v,vts", "--metrics", "ssim/skimage-gaussian@1,duration,cost"]
        then = ["score", *words, "--task", "a2v", "--metrics", "csim", "--limit", 1]  # it takes 2 s per clip
        for command in (first, then):
            assert cli.invoke([str(word) for word in command]) == 0
    return store


@pytest.fixture
def store(lrs3_store: Path, tmp_path: Path) -> Path:
    """A copy to write to."""
    return Path(shutil.copytree(lrs3_store, tmp_path / "store"))


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def table(bench: Bench, store: Path, *more: object) -> list[dict[str, str]]:
    return rows_of(bench("leaderboard", "--out", store, "-f", "csv", *more).out)


def value(rows: list[dict[str, str]], **where: str) -> float:
    (found,) = [row for row in rows if all(row[name] == wanted for name, wanted in where.items())]
    return float(found["value"])


def short(data: Path, name: str, store: Path, *more: object) -> list[object]:
    """Behind ``bench run``: one data set in this process, without bars."""
    return ["run", "-q", "--dataset", name, "--data-root", data, "--workers", 0, "--out", store, *more]


# ------------------------------------------------------------------------------------------------ layouts


@pytest.mark.parametrize("name", ["lrs3", "lrs2", "cinepile"])
@pytest.mark.parametrize("parent", [True, False])
def test_the_trees_are_usable(name: str, parent: bool, data: Path, bench: Bench) -> None:
    root = data if parent else data / name
    told = bench("data", "check", name, "--data-root", root, "--split", "test")
    assert "verdict: usable (0 errors, 0 warnings)" in told.out
    report = json.loads(bench("data", "check", name, "--data-root", root, "--split", "test", "--json").out)
    assert report["splits"]["test"]["found"] == 4


def test_lrs3_from_the_tree_to_the_table(lrs3_store: Path, bench: Bench) -> None:
    rows = table(bench, lrs3_store)
    assert {(row["system"], row["task"]) for row in rows} == {
        *(("ground-truth", task) for task in ("a2v", "vts")),
        *(("shuffled", task) for task in ("a2v", "vts")),
        ("still-face", "a2v"),
    }
    assert all((row["dataset"], row["split"]) == ("lrs3", "test") for row in rows)
    counts = {(row["protocol"].partition("/")[0], row["n_scored"], row["n_failed"]) for row in rows}
    assert counts == {("csim", "1", "0"), ("cost", "4", "0"), ("duration", "4", "0"), ("ssim", "4", "0")}

    def of(system: str, protocol: str, metric: str) -> float:
        return value(rows, system=system, protocol=protocol, metric=metric, task="a2v")

    for protocol, metric in (("csim/dlib-resnet@1", "CSIM-dlib"), ("ssim/skimage-gaussian@1", "SSIM")):
        assert (
            of("ground-truth", protocol, metric) > of("still-face", protocol, metric) > of("shuffled", protocol, metric)
        )
    assert value(rows, system="ground-truth", task="vts", metric="DurErr") == 0


def test_lrs2_from_the_tree_to_the_table(data: Path, tmp_path: Path, bench: Bench) -> None:
    store = tmp_path / "store"
    words = short(data, "lrs2", store, "--system", "ground-truth,shuffled", "--task", "vts,dub")
    told = bench(*words[:1], *words[2:], "--metrics", "wer/pocketsphinx-grid@1,duration,cost")
    bench("export", tmp_path / "rows.csv", "--out", store)
    clips = {row["clip_id"] for row in rows_of((tmp_path / "rows.csv").read_text(encoding="utf-8"))}
    assert len(clips) == 4 and all(clip.startswith("main/50000000000000000") for clip in clips)
    assert "LRS2" in told.err or "BBC" in told.err  # its agreement is called to mind
    rows = table(bench, store)
    assert all((row["n_scored"], row["n_failed"]) == ("4", "0") for row in rows)
    for task in ("vts", "dub"):
        wer = {name: value(rows, system=name, task=task, metric="WER") for name in ("ground-truth", "shuffled")}
        assert wer["ground-truth"] < 0.5 < wer["shuffled"]


def test_cinepile_from_the_manifest_to_the_table(data: Path, tmp_path: Path, bench: Bench) -> None:
    store = tmp_path / "store"
    words = short(data, "cinepile", store, "--system", SYSTEMS, "--task", "a2v", "--limit", 2)
    bench(*words, "--metrics", "psnr/rgb@1,duration,cost")
    rows = table(bench, store)
    assert len({row["system"] for row in rows}) == 3
    assert all((row["n_scored"], row["n_failed"]) == ("2", "0") for row in rows)
    one = [word if word != SYSTEMS else "ground-truth,still-face" for word in ["score", *words[1:-1], 1]]
    bench(*one, "--metrics", "lmd/mouth20-iod@1")  # later, and on fewer clips
    added = table(bench, store, "--metrics", "lmd")
    assert value(added, system="ground-truth", metric="LMD") < value(added, system="still-face", metric="LMD")
    assert {row["n_scored"] for row in added} == {"1"}
    psnr = {name: value(rows, system=name, metric="PSNR") for name in SYSTEMS.split(",")}
    assert psnr["ground-truth"] > 35 > psnr["still-face"] > psnr["shuffled"]
    with Store.open(store, write=False) as opened:
        (run,) = opened.runs(system="still-face")
        outputs = opened.outputs(run.id)
        assert opened.run(run.id).n_split == 4
    for clip_id, output in outputs.items():
        assert clip_id.endswith("-crop12-12-200-200")
        facts = probe(store / str(output.video))
        assert (facts.width, facts.height) == (200, 200)


# --------------------------------------------------------------------------------------------- conditions


def test_driving_audio_by_a_tts_system(data: Path, store: Path, bench: Bench) -> None:
    words = short(data, "lrs3", store, "--system", "still-face,ground-truth", "--task", "a2v", "--audio", "tts")
    words += ["--set", "tts_system=espeak", "--limit", 2, "--metrics", "duration,avsync,cost"]
    plan = bench(*words, "--dry-run").out
    assert "espeak" in plan and "2 wait for tts" in plan
    bench(*words)
    with Store.open(store, write=False) as opened:
        (spoken,) = opened.runs(system="espeak", task="tts")
        made = {run.system: run for run in opened.runs(audio="tts:espeak")}
        assert set(made) == {"still-face", "ground-truth"}
        seconds = {clip: output.media_seconds for clip, output in opened.outputs(spoken.id).items()}
        still = opened.outputs(made["still-face"].id)
        lengths = {clip: output.n_frames for clip, output in still.items()}
        real = opened.outputs(next(r.id for r in opened.runs(system="still-face", audio="real")))
    assert set(lengths) == set(seconds) and len(lengths) == 2
    assert all(frames == min(FRAMES, int(seconds[clip] * 25 + 1e-6)) for clip, frames in lengths.items())
    rows = table(bench, store, "--task", "a2v", "--metrics", "avsync,duration")
    assert {row["audio"] for row in rows} == {"real", "tts:espeak"}
    assert (
        value(rows, system="ground-truth", audio="tts:espeak", metric="AVS-corr") < 0.7
    )  # the mouth says it otherwise
    assert {clip: real[clip].status for clip in lengths} == dict.fromkeys(lengths, "ok")
    again = bench(*[word for word in words if word != "-q"])
    assert "generated: 0 new, 4 were there" in again.err and "scores: 0 new" in again.err


def test_equal_pictures_with_other_sound_are_scored_on_their_own(data: Path, tmp_path: Path, bench: Bench) -> None:
    """A still face is the same video whatever is heard with it; its synchrony is not."""
    slow = tmp_path / "slow_speech.py"
    slow.write_text(
        "from bench.api import Audio, Output, System\n\n\n"
        "class Long(System):\n"
        "    name, version, tasks = 'long-tone', '1', ('tts',)\n\n"
        "    def generate(self, requests):\n"
        "        import numpy as np\n\n"
        "        level = 0.3 + 0.2 * np.sin(np.arange(80_000) / 900)\n"
        "        tone = (level * np.sin(np.arange(80_000) * 0.2)).astype(np.float32)\n"
        "        return [Output(audio=Audio(tone, 16_000)) for _ in requests]\n"
    )
    store = tmp_path / "store"
    words = short(data, "lrs3", store, "--system", "still-face", "--task", "a2v", "--limit", 1, "--metrics", "avsync")
    bench(*words)
    bench(*words, "--audio", "tts", "--set", "tts_system=long-tone", "--plugin", slow)
    with Store.open(store, write=False) as opened:
        real, synthetic = (opened.runs(system="still-face", audio=audio)[0] for audio in ("real", "tts:long-tone"))
        (a,), (b,) = (opened.outputs(run.id).values() for run in (real, synthetic))
        assert a.sha256 == b.sha256
    rows = table(bench, store)
    assert value(rows, audio="real", metric="AVS-corr") != value(rows, audio="tts:long-tone", metric="AVS-corr")


def test_cross_pairs(data: Path, tmp_path: Path, bench: Bench) -> None:
    store = tmp_path / "store"
    words = short(data, "lrs3", store, "--system", "still-face", "--task", "a2v", "--pairing", "cross")
    bench(*words, "--metrics", "duration,ssim/skimage-gaussian@1,cost")
    rows = table(bench, store)
    assert {row["pairing"] for row in rows} == {"cross"}
    some = tmp_path / "some"
    limited = [some if word == store else word for word in words]
    bench(*limited, "--metrics", "duration,ssim/skimage-gaussian@1,cost", "--limit", 2)
    with Store.open(store, write=False) as whole, Store.open(some, write=False) as part:
        for run in part.runs():
            every, few = whole.outputs(run.id), part.outputs(run.id)  # one id: pairs depend on the whole split
            assert len(few) == 2 and all(few[clip].sha256 == every[clip].sha256 for clip in few)


def test_pairs_from_a_file(data: Path, tmp_path: Path, bench: Bench) -> None:
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text(f"{LRS3[0]}\t{LRS3[3]}\n{LRS3[2]}\t{LRS3[1]}\n")
    words = short(data, "lrs3", tmp_path / "store", "--system", "still-face", "--task", "a2v", "--pairing", pairs)
    bench(*words, "--metrics", "duration")
    with Store.open(tmp_path / "store", write=False) as opened:
        (run,) = opened.runs()
        assert run.pairing.startswith("file:") and run.n_split == 2
        assert sorted(opened.outputs(run.id)) == [LRS3[0], LRS3[2]]


def heard(store: Path, reference: str) -> dict[str, np.ndarray[Any, Any]]:
    """What the parrot said, by clip."""
    with Store.open(store, write=False) as opened:
        (run,) = opened.runs(reference=reference)
        outputs = opened.outputs(run.id)
        return {clip: decode_audio(Source(store / str(output.audio))).samples for clip, output in outputs.items()}


def likeness(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    n = min(len(a), len(b))
    return float(np.corrcoef(a[:n], b[:n])[0, 1])


def test_voices_of_every_kind_of_reference(data: Path, tmp_path: Path, bench: Bench) -> None:
    store, mapping = tmp_path / "store", tmp_path / "voices.tsv"
    voices = {clip: data / "lrs3" / f"{clip}.mp4" for clip in LRS3}
    mapping.write_text("".join(f"{clip}\t{voices[LRS3[3 - i]]}\n" for i, clip in enumerate(LRS3)))
    words = short(
        data, "lrs3", store, "--system", "parrot", "--plugin", HERE / "plugins" / "voices.py", "--task", "vts"
    )
    truth = {clip: decode_audio(Source(path)).samples for clip, path in voices.items()}
    other = dict(zip(LRS3, (LRS3[1], LRS3[0], LRS3[3], LRS3[2]), strict=True))  # the speaker's other clip
    expected = {
        "same": dict(zip(LRS3, LRS3, strict=True)),
        "other": other,
        mapping: dict(zip(LRS3, LRS3[::-1], strict=True)),
    }
    for reference, whose in expected.items():
        bench(*words, "--reference", reference, "--metrics", "duration,cost")
        said = heard(store, "external" if reference == mapping else str(reference))
        for clip, samples in said.items():
            assert max(LRS3, key=lambda c: likeness(samples, truth[c])) == whose[clip], (reference, clip)
            assert likeness(samples, truth[whose[clip]]) > 0.99
    bench(*words, "--reference", "none", "--metrics", "duration,cost")
    assert all(abs(likeness(samples, truth[LRS3[0]])) < 0.3 for samples in heard(store, "none").values())
    assert {row["reference"] for row in table(bench, store)} == {"same", "other", "external", "none"}


# ------------------------------------------------------------------------------- outputs of others, gateways


def test_a_folder_of_finished_outputs(data: Path, lrs3_store: Path, tmp_path: Path, bench: Bench) -> None:
    folder = tmp_path / "finished"
    folder.mkdir()
    with Store.open(lrs3_store, write=False) as opened:
        (run,) = opened.runs(system="still-face")
        for clip_id, output in list(opened.outputs(run.id).items())[:3]:
            shutil.copy(lrs3_store / str(output.video), folder / f"{clip_id.replace('/', '_')}.mp4")
    (folder / "stranger.mp4").write_bytes(b"")
    store = tmp_path / "store"
    words = short(data, "lrs3", store, "--system", f"outputs:{folder}=theirs", "--metrics", "duration,psnr/rgb@1,cost")
    assert "say which task" in bench(*words, code=2).err
    told = bench(*[word for word in words if word != "-q"], "--task", "a2v")
    assert "stranger.mp4" in told.err and LRS3[3] in told.err  # what matches nothing, on both sides
    rows = table(bench, store)
    assert {(row["system"], row["tier"]) for row in rows} == {("outputs:theirs", "external")}
    assert {(row["n_scored"], row["n_failed"]) for row in rows} == {("3", "1")}
    bench(*words, "--task", "a2v", "--strict", code=1)


def test_a_gateway_to_a_real_script(data: Path, tmp_path: Path, bench: Bench) -> None:
    checkout = tmp_path / "official"
    checkout.mkdir()
    shutil.copy(OFFICIAL, checkout / "inference.py")
    adapter = tmp_path / "brighter.yaml"
    adapter.write_text(
        yaml.safe_dump(
            {
                "name": "brighter",
                "kind": "gateway",
                "tasks": ["a2v"],
                "uses": ["identity"],
                "checkout": str(checkout),
                "python": sys.executable,
                "link": ["inference.py"],
                "folders": ["temp"],
                "command": ["python", "inference.py", "--face", "{video}", "--audio", "{audio}", "--out", "{out}"],
                "collect": "out.mp4",
                "post": ["trim_to_audio"],
                "timeout_s": 60,
            }
        )
    )
    store = tmp_path / "store"
    words = short(data, "lrs3", store, "--system", f"gateway:{adapter},ground-truth", "--task", "a2v", "--limit", 2)
    bench(*words, "--workers", 2, "--metrics", "duration,psnr/rgb@1,cost")
    rows = table(bench, store)
    (label,) = {row["system"] for row in rows} - {"ground-truth"}
    assert "brighter" in label and {row["tier"] for row in rows if row["system"] == label} == {"gateway"}
    assert all((row["n_scored"], row["n_failed"]) == ("2", "0") for row in rows)
    assert value(rows, system=label, metric="PSNR") < value(rows, system="ground-truth", metric="PSNR") - 5
    with Store.open(store, write=False) as opened:
        (run,) = opened.runs(tier="gateway")
        output = next(iter(opened.outputs(run.id).values()))
    frames = decode_video(Source(store / str(output.video))).frames
    assert frames.shape == (FRAMES, 224, 224, 3)


# ----------------------------------------------------------------------------------- what is in a store


def stamps(store: Path) -> dict[Path, int]:
    """When each file was last written; without those of SQLite's that a reader touches."""
    files = (path for path in store.rglob("*") if path.is_file() and not path.name.endswith(("-shm", "-wal")))
    return {path: path.stat().st_mtime_ns for path in files}


def test_a_dry_run_counts_what_is_there_and_what_is_missing(
    data: Path, lrs3_store: Path, tmp_path: Path, bench: Bench
) -> None:
    before = stamps(lrs3_store)
    words = short(data, "lrs3", lrs3_store, "--system", "ground-truth,espeak", "--task", "a2v,vts,tts", "--dry-run")
    plan = bench(*words, "--metrics", "ssim/skimage-gaussian@1,psnr/rgb@1,lmd/mouth20-iod@1,duration").out

    def line(*words: str) -> list[str]:
        (found,) = [text.split() for text in plan.splitlines() if all(f" {word} " in f" {text} " for word in words)]
        return found

    head = next(text for text in plan.splitlines() if text.startswith("run "))
    assert "stored" in head and "to do" in head
    assert line("ground-truth", "a2v", "4/4")[-4:-1] == ["4", "0", "0"]  # stored, to do, no input
    assert line("espeak", "tts", "4/4")[-4:-1] == ["0", "4", "0"]
    assert line("ssim/skimage-gaussian@1", "ground-truth")[3:6] == ["4", "0", "0"]  # stored, to do, waiting
    assert line("psnr/rgb@1", "ground-truth")[3:6] == ["0", "4", "0"]
    assert line("duration/abs@1", "espeak")[3:6] == ["0", "0", "4"]
    assert "shape_predictor_68_face_landmarks.dat" in plan and "here" in plan and "missing" not in plan
    assert "disk: about" in plan and "free in" in plan
    assert stamps(lrs3_store) == before
    empty = [tmp_path / "nowhere" if word == lrs3_store else word for word in words]
    assert "ground-truth" in bench(*empty, "--metrics", "duration").out
    assert not (tmp_path / "nowhere").exists()


def test_runs_are_listed_shown_and_removed(store: Path, bench: Bench) -> None:
    listed = json.loads(bench("runs", "list", "--out", store, "--json").out)
    assert len(listed) == 5 and {row["clips"] for row in listed} == {"4/4"}
    assert "still-face" in bench("runs", "list", "--out", store).out
    (run,) = [row["run"] for row in listed if row["system"] == "still-face"]
    shown = json.loads(bench("runs", "show", run[:8], "--out", store).out)
    assert shown["id"] == run and shown["outputs"] == 4 and shown["conflicts"] == []
    assert shown["config"]["dataset"] == {"value": ["lrs3"], "from": "command line"}
    assert shown["config"]["seed"] == {"value": 0, "from": "default"}
    media = set(store.glob("media/*/*"))
    assert "freed" in bench("runs", "remove", run[:8], "--yes", "--out", store).out
    assert len(media) - len(set(store.glob("media/*/*"))) == 4
    assert "still-face" not in bench("runs", "list", "--out", store).out
    assert "no run" in bench("runs", "show", run, "--out", store, code=2).err


def test_per_clip_rows_as_csv_and_parquet(lrs3_store: Path, tmp_path: Path, bench: Bench) -> None:
    for name in ("rows.csv", "rows.parquet"):
        assert "rows" in bench("export", tmp_path / name, "--out", lrs3_store, "--metrics", "csim,duration").out
    with (tmp_path / "rows.csv").open(encoding="utf-8", newline="") as file:
        one = list(csv.DictReader(file))
    table = pyarrow.parquet.read_table(tmp_path / "rows.parquet")
    other = table.to_pylist()
    assert list(one[0]) == table.column_names and len(one) == len(other) > 0
    for text, row in zip(one, other, strict=True):
        assert (text["value"] == "") == (row["value"] is None)
        assert row["value"] is None or float(text["value"]) == pytest.approx(row["value"], rel=1e-12)
    seen = {(row["system"], row["task"], row["clip_id"]) for row in other if row["protocol"] == "csim/dlib-resnet@1"}
    assert set(Counter(system_task[:2] for system_task in seen).values()) == {4}
    assert {"s1", "s2"} == {row["speaker"][-2:] for row in other}


def test_two_systems_are_compared(lrs3_store: Path, bench: Bench) -> None:
    words = ["compare", "ground-truth", "shuffled", "--out", lrs3_store, "--task", "a2v"]
    assert "ground-truth" in bench(*words).out
    report = bench(*words, "--format", "json").out
    assert "csim/dlib-resnet@1" in report and json.loads(report)
    assert "csim" in bench(*words, "--format", "md").out.lower()
    assert "did you mean 'shuffled'" in bench("compare", "ground-truth", "shufled", "--out", lrs3_store, code=2).err
    told = bench("compare", "ground-truth", "still-face", "--out", lrs3_store, "--task", "vts", code=2)
    assert "'still-face' has no run here with task vts" in told.err


def test_a_gate_passes_and_fails_when_a_number_moves(store: Path, tmp_path: Path, bench: Bench) -> None:
    baseline = tmp_path / "baseline.json"
    bench("gate", "--baseline", baseline, "--write", "--out", store)
    bench("gate", "--baseline", baseline, "--out", store)
    doctored = json.loads(baseline.read_text())
    rows = doctored if isinstance(doctored, list) else next(v for v in doctored.values() if isinstance(v, list))
    assert not any(row["protocol"].startswith("cost/") for row in rows if row.get("tolerance") is not None)
    (row,) = [r for r in rows if r["metric"] == "SSIM" and r["system"] == "still-face"]
    row["value"] += 0.2
    moved = tmp_path / "moved.json"
    moved.write_text(json.dumps(doctored))
    told = bench("gate", "--baseline", moved, "--out", store, code=1)
    assert "SSIM" in told.out or "ssim" in told.out
    (run,) = [
        r["run"] for r in json.loads(bench("runs", "list", "--out", store, "--json").out) if r["system"] == "still-face"
    ]
    bench("runs", "remove", run, "--yes", "--out", store)
    bench("gate", "--baseline", baseline, "--out", store, code=1)  # a row that is missing fails


@pytest.mark.parametrize("form", ["table", "csv", "md", "latex", "json", "html"])
@pytest.mark.parametrize("published", [True, False])
def test_leaderboards_in_every_format(
    form: str, published: bool, lrs3_store: Path, tmp_path: Path, bench: Bench
) -> None:
    more = ["--published"] if published else []
    text = bench("leaderboard", "--out", lrs3_store, "-f", form, *more).out
    assert "still-face" in text or form == "table"
    target = tmp_path / "board" / f"leaderboard.{form}"
    bench("leaderboard", "--out", lrs3_store, "-f", form, *more, "--save", target)
    saved = target.read_text(encoding="utf-8")
    if form != "table":
        assert saved == text
    if form in {"csv", "json"}:
        rows = rows_of(text) if form == "csv" else json.loads(text)
        sources = {row["source"] for row in rows}
        assert "measured" in sources and (len(sources) > 1) == published
        wide = bench("leaderboard", "--out", lrs3_store, "-f", form, "--wide").out
        assert wide != text and "still-face" in wide
