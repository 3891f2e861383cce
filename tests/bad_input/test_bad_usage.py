"""Wrong names, numbers and places: exit code 2, a message that says what and where, a hint, and nothing touched."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from bad_kit import PLUGINS, Bench

GOOD_RUN = ("run", "-q", "-s", "ground-truth", "-d", "folder", "--task", "vts", "--metrics", "duration")

#: name: (arguments behind ``GOOD_RUN``, which they override; what stderr must hold)
SETTINGS: dict[str, tuple[list[str], list[str]]] = {
    "system": (["-s", "ground-turth"], ["unknown system 'ground-turth'", "did you mean 'ground-truth'", "bench list"]),
    "one system of two": (["-s", "still-fce"], ["unknown system 'still-fce'", "'still-face'"]),
    "dataset": (["-d", "foldr"], ["unknown dataset 'foldr'", "'folder'", "bench list datasets"]),
    "metric family": (["--metrics", "psrn"], ["--metrics 'psrn' is unknown", "'psnr'", "bench list metrics"]),
    "protocol": (["--metrics", "ssim/skimage-gausian@1"], ["is unknown", "'ssim/skimage-gaussian@1'"]),
    "version of a protocol": (["--metrics", "duration/abs@9"], ["duration/abs@9", "'duration/abs@1'"]),
    "two metrics": (["--metrics", "psrn,sism"], ["'psrn'", "'sism'", "'psnr'", "'ssim'"]),
    "task": (["--task", "v2s"], ["task", "v2s", "vts"]),
    "task in another spelling": (["--task", "VTS"], ["task", "'VTS'", "'vts'"]),
    "task that the system lacks": (["-s", "espeak", "--task", "vts"], ["'espeak' does none of vts", "tts"]),
    "split": (["--split", "tset"], ["folder has no split 'tset'", "'test'"]),
    "engine": (["--engine", "rya"], ["unknown engine 'rya'", "did you mean 'ray'"]),
    "setting of a system": (["--set", "voise=f2"], ["--set voise", "no named system has it"]),
    "setting of another system": (["--set", "espeak.voice=f2"], ["--set espeak.voice", "no named system has it"]),
    "setting without value": (["--set", "voice"], ["'voice' is not key=value"]),
    "setting out of range": (
        ["-s", "espeak", "--task", "tts", "--set", "rate=-5"],
        ["--set rate = -5", "greater than or equal", "bench info espeak"],
    ),
    "pairing of a task without": (["--pairing", "cross"], ["--pairing cross", "task vts"]),
    "pairing file": (["--task", "a2v", "--pairing", "absent.txt"], ["--pairing 'absent.txt' is neither", "matched"]),
    "pairing list": (
        ["--task", "a2v", "--pairing", "pairs.txt"],
        ["pairs.txt: 2 errors", "line 1: expected two ids", "line 2: unknown clip 'zoe'"],
    ),
    "reference list": (["--reference", "file.txt"], ["references file.txt: 1 error", "line 1: expected an id, a tab"]),
    "pairing folder": (["--task", "a2v", "--pairing", "."], ["--pairing '.' is neither"]),
    "audio": (["--audio", "syntetic"], ["audio = 'syntetic'", "real", "tts"]),
    "audio of a task without": (["--audio", "tts"], ["--audio tts", "choose --task a2v"]),
    "system for --audio tts": (
        ["--task", "a2v", "--audio", "tts", "--set", "tts_system=espaek"],
        ["unknown system 'espaek'", "'espeak'"],
    ),
    "system for --audio tts that cannot": (
        ["--task", "a2v", "--audio", "tts", "--set", "tts_system=still-face"],
        ["tts_system=still-face", "does not do tts"],
    ),
    "reference": (["--reference", "smae"], ["--reference 'smae'", "'same'"]),
    "reference without its file": (["--reference", "external"], ["--reference external needs a file"]),
    "limit": (["--limit", "0"], ["limit = 0", "1 or more"]),
    "limit that is no number": (["--limit", "few"], ["--limit", "valid integer"]),
    "seed": (["--seed", "-1"], ["seed = -1", "0 to 2^63 - 1"]),
    "time limit nan": (["--timeout", "nan"], ["timeout = nan", "86400"]),
    "time limit inf": (["--timeout", "inf"], ["timeout = inf", "86400"]),
    "batch size": (["--batch-size", "0"], ["batch-size = 0", "1 to 4096"]),
    "workers": (["--workers", "-1"], ["workers = -1", "0 to 1024"]),
    "retry": (["--retry", "0"], ["retry = 0", "1 to 20"]),
    "number format": (["--dtype", "float46"], ["dtype = 'float46'", "'float16'"]),
    "device": (["--device", "cuda:x"], ["device = 'cuda:x'", "cuda:N"]),
    "several at once": (
        ["--limit", "0", "--task", "vtx", "--dtype", "f4", "--seed", "-9"],
        ["4 problems", "limit = 0", "'vtx'", "'f4'", "seed = -9"],
    ),
    "clip": (["--clips", "ann/onee"], ["--clips 'ann/onee' matches none of 4", "'ann/one'"]),
    "clip pattern": (["--clips", "zoe/*"], ["--clips 'zoe/*' matches none of 4 clips"]),
    "no clip pattern": (["--clips", " , "], ["--clips is empty"]),
    "clip list": (["--clips", "@absent.txt"], ["--clips @absent.txt", "one clip id per line"]),
    "clip list that is a folder": (["--clips", "@."], ["--clips @.", "one clip id per line"]),
    "option": (["--limt", "3"], ["No such option", "--limt"]),
    "folder of outputs": (["-s", "outputs:absent"], ["the folder absent does not exist"]),
    "empty folder of outputs": (["-s", "outputs:empty"], ["empty has no .mp4, .wav or .flac"]),
    "file of outputs": (["-s", "outputs:file.txt"], ["file.txt is a file"]),
    "no folder of outputs": (["-s", "outputs"], ["outputs:DIR"]),
    "gateway": (["-s", "gateway:wav2lop"], ["wav2lop", "wav2lip"]),
    "argument of a system without": (["-s", "espeak:f2", "--task", "tts"], ["espeak takes no argument after a colon"]),
    "two outputs of one name": (["-s", "outputs:GOOD=mine,outputs:.=mine"], ["two systems", "'outputs:mine'"]),
    "class in two plug-ins": (
        ["--plugin", str(PLUGINS / "bad_metrics.py"), "--plugin", "again.py"],
        ["again.py: metrics/m-raises is defined by", "rename one"],
    ),
    "no system": (["-s", ","], ["no system is named", "--system NAME"]),
    "data root": (["--data-root", "absent"], ["the data root absent", "does not exist", "--data-root"]),
    "data root of lrs2": (["-d", "lrs2", "--data-root", "absent"], ["absent", "'lrs2'", "Expected:"]),
    "data root of lrs3": (["-d", "lrs3", "--data-root", "absent"], ["absent", "'lrs3'", "Expected:"]),
    "data root of cinepile": (["-d", "cinepile", "--data-root", "absent"], ["absent", "'cinepile'", "Expected:"]),
    "data root without clips": (["--data-root", "empty"], ["no folder data in empty", "Expected:"]),
    "data root that is a text": (
        ["--data-root", "file.txt"],
        ["the data root file.txt of 'folder' is a file", "--data-root"],
    ),
    "data root of lrs3 that is a text": (["-d", "lrs3", "--data-root", "file.txt"], ["'lrs3' is a file", "Expected:"]),
    "data root of another layout": (["-d", "lrs3", "--data-root", "empty"], ["no lrs3 data in", "Expected:"]),
    "settings file": (["--config", "absent.yaml"], ["absent.yaml: no such file"]),
    "settings folder": (["--config", "empty"], ["empty is a folder"]),
    "plug-in": (["--plugin", "absent.py"], ["--plugin absent.py: no such file"]),
    "plug-in folder": (["--plugin", "empty"], ["--plugin empty", "Python file"]),
    "plug-in of another kind": (["--plugin", "file.txt"], ["--plugin file.txt", ".py"]),
    "plug-in without a class": (["--plugin", str(PLUGINS / "nothing.py")], ["nothing.py", "defines no System"]),
    "plug-in that does not import": (["--plugin", str(PLUGINS / "raises_on_import.py")], ["RuntimeError: no driver"]),
    "plug-in that leaves python": (
        ["--plugin", str(PLUGINS / "exits_on_import.py")],
        ["exits_on_import.py", "SystemExit"],
    ),
    "plug-in with a syntax error": (["--plugin", "broken.py"], ["broken.py", "SyntaxError"]),
    "plug-in with the name of another": (
        ["--plugin", str(PLUGINS / "takes_a_name.py")],
        ["'ground-truth' is the name of an installed one", "another name"],
    ),
    "control that claims to be canonical": (
        ["--plugin", str(PLUGINS / "claims_canonical.py"), "-s", "cheat"],
        ["'cheat' looks at the truth", "claims tier 'canonical'"],
    ),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_wrong_settings_change_nothing(name: str, bench: Bench, good: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_text("no data\n")
    (tmp_path / "broken.py").write_text("def f(:\n")
    (tmp_path / "pairs.txt").write_text("ann/one ann/two\nzoe\tann/one\n")
    (tmp_path / "again.py").write_bytes((PLUGINS / "bad_metrics.py").read_bytes())
    before = bench.state()
    arguments, expected = SETTINGS[name]
    arguments = [word.replace("GOOD", str(good)) for word in arguments]
    told = bench(*merged([*GOOD_RUN, "--data-root", str(good)], arguments))
    assert told.code == 2
    assert told.err.startswith("bench: ") and "\n  " in told.err, "message and hint"
    assert not [part for part in expected if part not in told.err], told.err
    assert bench.state() == before


@pytest.mark.parametrize("name", ["system", "dataset", "metric family", "task", "engine", "setting of a system"])
def test_a_slip_leaves_no_empty_store(name: str, bench: Bench, good: Path, tmp_path: Path) -> None:
    arguments = merged([*GOOD_RUN, "--data-root", str(good)], SETTINGS[name][0])
    assert bench(*arguments, out=tmp_path / "elsewhere").code == 2
    assert not (tmp_path / "elsewhere").exists()


def merged(base: list[str], extra: list[str]) -> list[str]:
    """``base`` without the options that ``extra`` gives anew (repeated names would add up)."""
    kept, index = [], 0
    while index < len(base):
        has_value = base[index].startswith("-") and base[index] != "-q"
        width = 2 if has_value else 1
        if base[index] not in extra:
            kept += base[index : index + width]
        index += width
    return [*kept, *extra]


#: Other verbs: (arguments, exit code, what stderr must hold)
VERBS: dict[str, tuple[list[str], int, list[str]]] = {
    "verb": (["leaderbord"], 2, ["leaderbord"]),
    "info": (["info", "sims"], 2, ["nothing is called 'sims'", "'ssim'"]),
    "list": (["list", "metrcs"], 2, ["'metrics'"]),
    "format": (["leaderboard", "-f", "xslx"], 2, ["xslx"]),
    "metrics of a table": (["leaderboard", "--metrics", "durration"], 2, ["durration", "'duration'"]),
    "system of a table": (["leaderboard", "-s", "ground-turth"], 2, ["ground-turth", "'ground-truth'"]),
    "table into a folder": (["leaderboard", "-f", "csv", "--save", "."], 2, ["--save ."]),
    "compare": (["compare", "ground-truth", "nobody"], 2, ["nobody"]),
    "format of a comparison": (["compare", "ground-truth", "ground-truth", "-f", "tabel"], 2, []),
    "run id": (["runs", "show", "ffffff"], 2, ["ffffff"]),
    "run to remove": (["runs", "remove", "zzz", "-y"], 2, ["zzz"]),
    "baseline": (["gate", "--baseline", "absent.json"], 2, ["absent.json"]),
    "baseline that is a folder": (["gate", "--baseline", "."], 2, ["."]),
    "baseline that is no JSON": (["gate", "--baseline", "file.txt"], 1, ["file.txt: not JSON", "--write"]),
    "export to another kind of file": (["export", "rows.xlsx"], 2, ["rows.xlsx"]),
    "export into a folder that is absent": (["export", "file.txt/rows.csv"], 2, ["rows.csv"]),
    "conformance": (["conformance", "metrcs"], 2, ["metrcs"]),
    "golden folder": (["conformance", "--golden", "absent"], 2, ["absent"]),
    "data": (["data", "check", "lsr3"], 2, ["unknown dataset 'lsr3'", "'lrs3'"]),
    "data split": (["data", "check", "folder", "--split", "trian", "--data-root", "GOOD"], 2, ["no split 'trian'"]),
    "data clip": (["data", "check", "folder", "--clips", "nobody", "--data-root", "GOOD"], 2, ["'nobody'"]),
    "data make": (["data", "make", "lrs3"], 2, ["cannot make 'lrs3'"]),
    "data make size": (["data", "make", "demo", "--size", "huge", "--data-root", "empty"], 2, ["huge"]),
    "data make split": (["data", "make", "demo", "--splits", "tset", "--data-root", "empty"], 2, ["tset"]),
    "report into a folder": (
        ["data", "check", "folder", "--data-root", "GOOD", "--out", "."],
        2,
        ["bench: .: Is a directory"],
    ),
}


@pytest.mark.parametrize("name", VERBS)
def test_wrong_use_of_other_verbs_changes_nothing(
    name: str, bench: Bench, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_text("no data\n")
    monkeypatch.setenv("BENCH_OUT", str(bench.store))
    before = bench.state()
    arguments, code, expected = VERBS[name]
    told = bench(*(str(good) if word == "GOOD" else word for word in arguments))
    assert told.code == code
    assert "bench: " in told.err and "\n  " in told.err, f"message and hint: {told.err}"
    assert not [part for part in expected if part not in told.err], told.err
    assert bench.state() == before
    assert not list((tmp_path / "empty").iterdir())


def test_a_wrong_variable_is_named(bench: Bench, good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_LIMIT", "many")
    before = bench.state()
    told = bench(*GOOD_RUN, "--data-root", good)
    assert told.code == 2 and "environment BENCH_LIMIT: limit = 'many'" in told.err
    assert bench.state() == before


def test_what_is_named_twice_is_done_once(bench: Bench, good: Path) -> None:
    twice = ("-s", "ground-truth,ground-truth", "-d", "folder,folder", "--task", "vts,vts", "--metrics", "duration")
    before = bench.state().media
    assert bench("run", "-q", *twice, "--data-root", good, "--workers", "0").code == 0
    assert len(bench.run_ids()) == 1 and bench.state().media == before


def test_a_path_that_no_file_system_can_hold(bench: Bench) -> None:
    before = bench.state()
    told = bench.run("-s", "ground-truth", "--data-root", "x" * 5000, "--task", "vts", "--metrics", "duration")
    assert told.code == 1 and "File name too long" in told.err and "check that path" in told.err
    assert bench.state() == before


def test_a_reader_that_goes_away_is_no_error() -> None:
    bench = f"{sys.executable} -m bench list | head -c 1"
    told = subprocess.run(["/bin/sh", "-c", bench], capture_output=True, text=True, check=False)
    assert told.stdout and not told.stderr
