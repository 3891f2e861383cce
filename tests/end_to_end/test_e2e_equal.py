"""How a run came about does not show in its results: workers, batches, order, pieces, a second time."""

from __future__ import annotations

import csv
import io
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from e2e_kit import SLOW, Results, bench, digest, export, noted, results, table

from bench import cli
from bench.media import write_video
from bench.records import Audio
from bench.store import Store

METRICS = "slow-level,slow-light,duration,cost"
SYSTEMS = "slow-voice,slow-face,shuffled"


def arguments(talks: Path, store: Path, *more: object, systems: str = SYSTEMS) -> list[object]:
    """Behind the verb: three systems, two tasks, in this process unless ``more`` says otherwise."""
    return [
        *("-q", "--system", systems, "--dataset", "folder", "--data-root", talks, "--task", "vts,a2v"),
        *("--plugin", SLOW, "--out", store, *([] if "--workers" in more else ["--workers", 0]), *more),
    ]


def run(talks: Path, store: Path, *more: object, systems: str = SYSTEMS) -> None:
    """``bench run`` with some metrics."""
    bench("run", *arguments(talks, store, *more, systems=systems), "--metrics", METRICS)


@pytest.fixture(scope="module")
def whole_store(talks: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that was made in one go, in one process; nothing changes it."""
    store = tmp_path_factory.mktemp("whole") / "store"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE", str(cache))
        run(talks, store)
    return store


@pytest.fixture(scope="module")
def whole(whole_store: Path, cache: Path) -> Results:
    """Its results."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE", str(cache))
        found = results(whole_store)
    assert ",failed," in found.export and ",ok," in found.export
    return found


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where executions of this process (and its workers) are noted."""
    folder = tmp_path / "notes"
    folder.mkdir()
    monkeypatch.setenv("E2E_NOTES", str(folder))
    return folder


def forget(notes: Path) -> None:
    for file in notes.iterdir():
        file.unlink()


def executed(notes: Path) -> Counter[str]:
    """How many units were executed, by what they are."""
    return Counter({what: sum(n for line, n in noted(notes).items() if line.split()[0] == what) for what in _WHAT})


_WHAT = ("generate", "score")


def assert_equal_but_for_the_order_of_runs(store: Path, whole: Results) -> None:
    """An export has the runs in the order in which they were begun."""
    assert table(store) == whole.table
    assert digest(store) == whole.digest
    assert sorted(export(store).splitlines()) == sorted(whole.export.splitlines())


@pytest.mark.parametrize(("workers", "batch"), [(0, 1), (1, 8), (2, 3)])
def test_workers_and_batches_do_not_show(workers: int, batch: int, talks: Path, tmp_path: Path, whole: Results) -> None:
    run(talks, tmp_path / "store", "--workers", workers, "--batch-size", batch)
    assert results(tmp_path / "store") == whole


def test_the_order_of_systems_does_not_show(talks: Path, tmp_path: Path, whole: Results) -> None:
    run(talks, tmp_path / "store", systems=",".join(reversed(SYSTEMS.split(","))))
    assert_equal_but_for_the_order_of_runs(tmp_path / "store", whole)


def test_one_system_at_a_time_does_not_show(talks: Path, tmp_path: Path, whole: Results) -> None:
    for system in SYSTEMS.split(","):
        bench("generate", *arguments(talks, tmp_path / "store", systems=system))
    for metric in METRICS.split(","):
        bench("score", *arguments(talks, tmp_path / "store"), "--metrics", metric)
    assert_equal_but_for_the_order_of_runs(tmp_path / "store", whole)


@pytest.mark.parametrize(
    "pieces", [[["--limit", 3], []], [["--limit", 2], ["--clips", "speaker1/*"], ["--limit", 7], []]]
)
def test_pieces_first_then_everything(
    pieces: list[list[object]], talks: Path, tmp_path: Path, whole: Results, notes: Path
) -> None:
    for piece in pieces:
        run(talks, tmp_path / "store", *piece)
    assert results(tmp_path / "store") == whole
    assert set(noted(notes).values()) == {1}


def test_a_limited_run_says_so_and_is_the_same_on_its_clips(talks: Path, tmp_path: Path, whole: Results) -> None:
    run(talks, tmp_path / "store", "--limit", 3)
    some = list(csv.DictReader(io.StringIO(export(tmp_path / "store"))))
    assert len({row["clip_id"] for row in some}) == 3
    every = set(whole.export.splitlines())
    assert set(export(tmp_path / "store").splitlines()) < every
    assert all(int(row["n_scored"]) <= 3 for row in csv.DictReader(io.StringIO(table(tmp_path / "store"))))


def test_a_second_time_nothing_is_done(
    whole_store: Path, talks: Path, tmp_path: Path, whole: Results, notes: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    shutil.copytree(whole_store, store)
    media = {path: path.stat().st_mtime_ns for path in store.glob("media/**/*")}
    verbs = {"run": ["--metrics", METRICS], "generate": [], "score": ["--metrics", METRICS]}
    for verb, more in verbs.items():
        capfd.readouterr()
        bench(verb, *arguments(talks, store, "--workers", 2)[1:], *more)
        err = capfd.readouterr().err
        assert "generated: 0 new, 40 were there, 0 failed" in err or verb == "score", err
        assert ("scores: 0 new" in err and err.endswith(" were there, 0 failed\n")) or verb == "generate", err
    assert executed(notes) == {"generate": 0, "score": 0}
    assert {path: path.stat().st_mtime_ns for path in store.glob("media/**/*")} == media
    assert results(store) == whole


def test_seeds_are_different_runs_and_each_comes_out_the_same(talks: Path, tmp_path: Path, whole: Results) -> None:
    for name, more in (("a", ["--batch-size", 3]), ("b", ["--workers", 2])):
        run(talks, tmp_path / name, "--seed", 7, *more)
    other = results(tmp_path / "a")
    assert other == results(tmp_path / "b") != whole

    def values(text: str, system: str) -> list[str]:
        rows = csv.DictReader(io.StringIO(text))
        return [row["value"] for row in rows if row["system"] == system and not row["protocol"].startswith("duration")]

    assert values(other.table, "slow-voice") != values(whole.table, "slow-voice")
    assert values(other.table, "shuffled") == values(whole.table, "shuffled")  # it draws no numbers


def test_two_seeds_live_side_by_side(whole_store: Path, talks: Path, tmp_path: Path, whole: Results) -> None:
    store = tmp_path / "store"
    shutil.copytree(whole_store, store)
    run(talks, store, "--seed", 7, systems="slow-voice")
    rows = list(csv.DictReader(io.StringIO(table(store))))
    assert len({row["run_id"] for row in rows if row["system"].startswith("slow-voice")}) == 2
    with Store.open(store, write=False) as opened:
        old = [found.id for found in opened.runs() if found.seed == 0]
        assert opened.digest(old) == whole.digest


def test_force_does_the_selected_clips_again_and_no_others(
    whole_store: Path, talks: Path, tmp_path: Path, whole: Results, notes: Path
) -> None:
    store = tmp_path / "store"
    shutil.copytree(whole_store, store)
    run(talks, store, "--force", "--clips", "speaker0/clip1,speaker1/*", systems="slow-voice,slow-face")
    assert executed(notes)["generate"] == 2 * 6
    with Store.open(store, write=False) as opened:
        outputs = [opened.outputs(run.id) for run in opened.runs() if run.system.startswith("slow-")]
    chosen = [found[clip] for found in outputs for clip in found if clip == "speaker0/clip1" or "speaker1" in clip]
    assert executed(notes)["score"] == sum(output.status == "ok" for output in chosen)
    assert results(store) == whole

    forget(notes)
    bench("score", *arguments(talks, store, "--force", "--limit", 2, systems="slow-face"), "--metrics", METRICS)
    assert executed(notes) == {"generate": 0, "score": 2}
    assert results(store) == whole


def speak(path: Path, tone: float) -> None:
    """Another clip in the place of ``path``."""
    samples = 0.1 * np.sin(2 * np.pi * tone * np.arange(25 * 640) / 16_000)
    frames = np.full((25, 48, 48, 3), 77, np.uint8)
    frames[:, ::3] = 160
    write_video(path, frames, audio=Audio(samples.astype(np.float32), 16_000))


def indexed(talks: Path, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    bench("data", "index", "folder", "--data-root", talks)
    return capsys.readouterr().out.strip()


@pytest.mark.parametrize("what", ["video", "text"])
def test_a_changed_input_is_noticed_and_scored_again(
    what: str, whole_store: Path, talks: Path, tmp_path: Path, notes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, changed = tmp_path / "store", tmp_path / "talks"
    shutil.copytree(whole_store, store)
    shutil.copytree(talks, changed)
    before = indexed(talks, capsys)
    assert indexed(changed, capsys) == before  # the same content in another place
    run(changed, store)
    assert executed(notes) == {"generate": 0, "score": 0}  # and so nothing to do

    if what == "video":
        speak(changed / "speaker1" / "clip2.mp4", 333.0)
    else:
        (changed / "speaker1" / "clip2.txt").write_text("set red by x nine again\n")
    after = indexed(changed, capsys)
    assert after != before and after.startswith("folder/test: 10 clips")
    run(changed, store, systems="slow-voice,slow-face")
    # The data are others, so these are new runs; outputs that came out as before are not scored again.
    assert executed(notes)["generate"] == 2 * 10
    assert 1 <= executed(notes)["score"] <= 2
    with Store.open(store, write=False) as opened:
        new = [run for run in opened.runs(system="slow-face") if run.dataset_sha256.startswith(after.split()[-1])]
        assert len(new) == 1 and opened.scores(new[0].id, "slow-light/mean@1").n_pending == 0
        old = [run for run in opened.runs(system="slow-face") if run.id != new[0].id]
        assert len(old) == 1
        hashes = [{c.clip_id: c.reference_sha256 for c in opened.run_clips(run.id)} for run in (*old, *new)]
    assert [clip for clip in hashes[0] if hashes[0][clip] != hashes[1][clip]] == ["speaker1/clip2"]


def test_a_file_that_goes_or_comes_is_noticed(talks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed = tmp_path / "talks"
    shutil.copytree(talks, changed)
    lines = [indexed(changed, capsys)]
    (changed / "speaker0" / "clip0.mp4").rename(tmp_path / "away.mp4")
    lines.append(indexed(changed, capsys))
    shutil.copy(tmp_path / "away.mp4", changed / "speaker0" / "clip9.mp4")
    lines.append(indexed(changed, capsys))
    (changed / "speaker0" / "clip9.mp4").unlink()
    (tmp_path / "away.mp4").rename(changed / "speaker0" / "clip0.mp4")
    assert [line.split()[1] for line in lines] == ["10", "9", "10"]
    assert len({line.split()[-1] for line in lines}) == 3
    assert indexed(changed, capsys) == lines[0]


def test_scoring_what_was_never_generated_says_so(
    talks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench("generate", *arguments(talks, tmp_path / "store", "--limit", 1, systems="shuffled"))
    words = ["score", *arguments(talks, tmp_path / "store", systems="slow-voice,slow-face"), "--metrics", "duration"]
    capsys.readouterr()
    assert cli.invoke([str(word) for word in words]) == 2
    err = capsys.readouterr().err
    assert "slow-voice vts" in err and "nothing has been generated" in err and "bench generate" in err, err


def test_a_table_of_workers_that_die_is_the_same(
    talks: Path, tmp_path: Path, whole: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One clip kills its worker in the middle of a batch, once: nothing of it shows."""
    mark = tmp_path / "died"
    plugin = tmp_path / "slow.py"
    # the same plug-in, which dies on the sixth call of the first worker
    plugin.write_text(
        SLOW.read_text()
        + f"""
_work, _calls = work, []


def work(line: str) -> None:
    _work(line)
    _calls.append(line)
    if len(_calls) == 6 and not os.path.exists({str(mark)!r}):
        open({str(mark)!r}, "w").close()
        os.kill(os.getpid(), 9)
"""
    )
    words = [word if word is not SLOW else plugin for word in arguments(talks, tmp_path / "store", "--workers", 1)]
    bench("run", *words, "--metrics", METRICS, "--batch-size", 4)
    assert mark.exists()
    assert results(tmp_path / "store") == whole


def test_scoring_what_was_generated_in_part_says_what_is_left_out(
    talks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    bench("generate", *arguments(talks, store, "--limit", 2, systems="slow-face"))
    words = [str(word) for word in ["score", *arguments(talks, store, systems="slow-face,slow-voice")]]
    capsys.readouterr()
    assert cli.invoke([*words, "--metrics", "duration,slow-light"]) == 1
    said = capsys.readouterr()
    assert "slow-voice vts: nothing generated" in said.err
    assert "slow-light/mean@1" in said.out
