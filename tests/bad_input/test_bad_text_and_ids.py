"""Odd transcripts, clip ids that try to leave the folder or to pass for others, and broken manifests."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from bad_kit import Bench, leftovers
from bad_media import clip

DURATION, WER = "duration/abs@1", "wer/pocketsphinx-grid@1"

#: name: (text file, output row of espeak's tts, score row of WER: (kind, part of the detail))
TEXTS: dict[str, tuple[bytes, tuple[str, str], tuple[str, str]]] = {
    "empty": (b"", ("empty_reference", "no transcript"), ("missing_output", "")),
    "blanks": (b" \n\t\r\n ", ("empty_reference", "no transcript"), ("missing_output", "")),
    "punctuation": (b"... ?! --", ("model_error", "without a letter or digit"), ("missing_output", "")),
    "10,000 words": (b"bin blue at a one now " * 1667, ("model_error", ""), ("missing_output", "")),
    "one endless word": (b"a" * 50_000, ("model_error", ""), ("missing_output", "")),
    "other script": ("Добрый день".encode(), ("model_error", ""), ("missing_output", "")),
    "emoji": ("😀 🎬".encode(), ("model_error", ""), ("missing_output", "")),
    "right to left": ("bin \u202eeulb at a one now".encode(), ("ok", ""), ("model_error", "\\u202e")),
    "NUL bytes": (b"bin blue\0at a one\0now", ("ok", ""), ("ok", "")),
    "terminal controls": (b"bin blue \x1b[2J at a one now\x07", ("ok", ""), ("model_error", "")),
    "no UTF-8": (b"bin blue \xff\xfe at a one now", ("ok", ""), ("model_error", "")),
    "byte-order mark": (b"\xef\xbb\xbfbin blue at a one now", ("ok", ""), ("ok", "")),
    "words outside the grammar": (b"the quick brown fox", ("ok", ""), ("model_error", "quick")),
    "markup for a speech engine": (b"[[h@l'oU]] <mark name='x'/> bin blue", ("ok", ""), ("model_error", "")),
    "option for a command": (b"--help; touch pwned $(touch pwned)", ("ok", ""), ("model_error", "")),
}


@pytest.mark.parametrize("name", TEXTS)
def test_odd_transcripts(name: str, bench: Bench, tree: Path, tmp_path: Path) -> None:
    text, output, score = TEXTS[name]
    old = bench.run_ids()
    before = bench.kept(old)
    clip(tree / "zed/odd.mp4", text=text)
    arguments = ("-s", "espeak", "--data-root", tree, "--task", "tts", "--metrics", WER)
    told = bench.run(*arguments)
    found = bench.result(bench.run_id("espeak", "tts"), [WER])
    assert sorted(found) == ["ann/one", "bob/one", "zed/odd"]
    for where, (kind, detail) in (("", output), (WER, score)):
        row = found["zed/odd"][where]
        assert row.kind == kind and detail in row.detail, (where, row)
        assert "\x1b" not in row.detail and "\0" not in row.detail and len(row.detail) < 2500
    assert [found[c][WER].kind for c in ("ann/one", "bob/one")] == ["ok", "ok"]
    assert told.code == 0 and "\x1b[2J" not in told.out + told.err
    assert bench.run(*arguments, "--strict").code == (0 if (output[0], score[0]) == ("ok", "ok") else 1)
    assert not (tmp_path / "pwned").exists()
    assert bench.kept(old) == before and leftovers(bench.store) == []


def manifest(root: Path, *rows: str, head: str = "path,clip_id,transcript") -> Path:
    clip(root / "good.mp4", 0)
    clip(root / "other.mp4", 1)
    path = root / "manifest.csv"
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8", errors="surrogateescape", newline="")
    return root


GOOD = "good.mp4,fine,bin blue at a one now"

#: name: (clip id in the manifest, what stderr must hold). ``""``: it is a usable id.
IDS: dict[str, tuple[str, list[str]]] = {
    "parent": ("../evil", ["../evil", "has the part '..'"]),
    "parent inside": ("a/../../evil", ["has the part '..'"]),
    "absolute": ("/etc/passwd", ["has the part ''"]),
    "this folder": ("./x", ["has the part '.'"]),
    "backslashes": ("..\\..\\evil", ["backslash"]),
    "newline": ('"two\nlines"', ["U+000A"]),
    "NUL": ("a\0b", []),
    "escape": ("a\x1b[2Jb", ["U+001B"]),
    "right-to-left override": ("a\u202eb", ["U+202E"]),
    "zero width": ("fi\u200bne", ["U+200B"]),
    "blank at the end": ('"a /b"', ["blank"]),
    "500 bytes": ("x" * 500, ["longer than 400 bytes"]),
    "the same": ("fine", ["is there twice"]),
    "another case": ("FINE", ["looks like fine"]),
    "look-alike in full width": ("ｆｉｎｅ", ["looks like fine"]),
    "ligature": ("ﬁne", ["looks like fine"]),
}


@pytest.mark.parametrize("name", IDS)
def test_unusable_clip_ids_are_refused(name: str, bench: Bench, tmp_path: Path) -> None:
    clip_id, expected = IDS[name]
    root = manifest(tmp_path / "data", GOOD, f"other.mp4,{clip_id},bin blue at b one now")
    before, files = bench.state(), sorted(tmp_path.rglob("*"))
    told = bench.run("-s", "ground-truth", "--data-root", root, "--task", "vts", "--metrics", "duration")
    assert told.code == 1
    assert told.err.startswith("bench: ") and "\n  " in told.err
    assert not [part for part in expected if part not in told.err], told.err
    assert not set(told.err) & {"\0", "\x1b", "\u202e", "\u200b"}, "nothing that a terminal would act on"
    assert bench.state() == before
    assert sorted(path for path in tmp_path.rglob("*") if "store" not in path.parts) == [
        path for path in files if "store" not in path.parts
    ]


USABLE = {
    "spaces": "two words/a clip",
    "quotes": "it's 'so' ; DROP TABLE runs",
    "double quotes": '"say ""so"""',
    "shell": "$(touch pwned) `touch pwned` & | > x",
    "wildcards": "[a-z]*?",
    "percent": "%s%n {0} {clip}",
    "other scripts": "клип/片段/מקטע",
    "decomposed": "cafe\u0301",
    "leading dash": "--help",
    "leading dot": ".hidden/..x",
    "400 bytes": "x" * 400,
    "windows device": "con/aux.",
    "html": "<script>alert(1)</script>",
    "formula": "=cmd|'calc'!A0",
}


@pytest.mark.parametrize("name", USABLE)
def test_odd_clip_ids_are_kept_inside_the_store(name: str, bench: Bench, tmp_path: Path) -> None:
    cell = USABLE[name]
    clip_id = unicodedata.normalize("NFC", cell[1:-1].replace('""', '"') if cell.startswith('"') else cell)
    root = manifest(tmp_path / "data", GOOD, f"other.mp4,{cell},bin blue at b one now")
    old = bench.run_ids()
    before = bench.kept(old)
    told = bench.run("-s", "ground-truth", "--data-root", root, "--task", "vts", "--metrics", "duration")
    assert told.code == 0, told.err
    (run_id,) = set(bench.run_ids()) - set(old)
    found = bench.result(run_id, [DURATION])
    assert {key: row[DURATION].kind for key, row in found.items()} == {"fine": "ok", clip_id: "ok"}
    assert bench("export", "rows.csv").code == 0
    assert len(bench.state([run_id]).media) == 2
    assert not list(tmp_path.rglob("pwned"))
    assert bench.kept(old) == before and leftovers(bench.store) == []


#: name: (lines of the manifest, exit code, what stderr must hold)
MANIFESTS: dict[str, tuple[list[str], int, list[str]]] = {
    "unknown column": (["path,trancsript", "good.mp4,x"], 1, ["'trancsript'", "'transcript'"]),
    "no column for the video": (["clip_id,transcript", "a,x"], 1, ["no column that names the video", "`path`"]),
    "no rows": (["path,clip_id"], 1, ["has no rows"]),
    "nothing": ([""], 1, ["manifest.csv", "has no rows"]),
    "too many cells": (["path,clip_id", "good.mp4,a,b,c"], 1, ["line 2 has more cells"]),
    "words for seconds": (["path,start", "good.mp4,soon"], 1, ["manifest.csv:2", "start is 'soon'"]),
    "negative start": (["path,start", "good.mp4,-1"], 1, ["manifest.csv:2", "start is '-1'"]),
    "end before start": (["path,start,end", "good.mp4,2,1"], 1, ["manifest.csv:2", "end 1 is not after start 2"]),
    "start that is no number": (["path,start", "good.mp4,nan"], 1, ["start is 'nan'"]),
    "crop of three numbers": (["path,crop", 'good.mp4,"1,2,3"'], 1, ["crop is '1,2,3'", "x,y,width,height"]),
    "crop without area": (["path,crop", 'good.mp4,"0,0,0,9"'], 1, ["crop is '0,0,0,9'"]),
    "no video named": (["path,clip_id", ",a"], 1, ["manifest.csv:2", "neither `path` nor `video_id`"]),
    "sound that is absent": (["path,audio", "good.mp4,absent.wav"], 1, ["no such audio file: absent.wav"]),
    "no UTF-8": (["path,clip_id", "good.mp4,\udcff"], 1, ["manifest.csv cannot be read", "UTF-8"]),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_broken_manifests_are_refused(name: str, bench: Bench, tmp_path: Path) -> None:
    lines, code, expected = MANIFESTS[name]
    root = manifest(tmp_path / "data", *lines[1:], head=lines[0])
    before = bench.state()
    told = bench.run("-s", "ground-truth", "--data-root", root, "--task", "vts", "--metrics", "duration")
    assert told.code == code, told
    assert told.err.startswith("bench: ") and "\n  " in told.err
    assert not [part for part in expected if part not in told.err], told.err
    assert bench.state() == before
    checked = bench("data", "check", "folder", "--data-root", root)
    assert checked.code == 1 and "error" in checked.out


#: name: (row of the manifest, kind of failure, part of the detail)
ROWS: dict[str, tuple[str, str, str]] = {
    "absent video": ("absent.mp4,x,bin", "missing_reference", "no video"),
    "folder for a video": ("sub.mp4,x,bin", "missing_reference", "no video"),
    "cut beyond the end": ("other.mp4,x,bin,7,9", "missing_reference", ""),
    "NUL in a path": ("other\0.mp4,x,bin", "missing_reference", "no video"),
    "path that is too long": (f"{'x' * 5000}.mp4,x,bin", "missing_reference", "no video"),
}


@pytest.mark.parametrize("name", ROWS)
def test_rows_without_usable_media_fail_alone(name: str, bench: Bench, tmp_path: Path) -> None:
    row, kind, detail = ROWS[name]
    (tmp_path / "data/sub.mp4").mkdir(parents=True)
    commas = "," * (4 - row.count(","))
    root = manifest(tmp_path / "data", f"{GOOD},,", row + commas, head="path,clip_id,transcript,start,end")
    old = bench.run_ids()
    before = bench.kept(old)
    arguments = ("-s", "ground-truth", "--data-root", root, "--task", "vts", "--metrics", "duration")
    assert bench.run(*arguments).code == 0
    assert bench.run(*arguments, "--strict").code == 1
    (run_id,) = set(bench.run_ids()) - set(old)
    found = bench.result(run_id, [DURATION])
    assert found["fine"][DURATION].kind == "ok"
    assert found["x"][""].kind == kind and detail in found["x"][""].detail, found["x"]
    assert bench.kept(old) == before and leftovers(bench.store) == []


def test_splits_of_a_manifest_can_be_named(bench: Bench, tmp_path: Path) -> None:
    head = "path,clip_id,transcript,split"
    root = manifest(tmp_path / "data", f"{GOOD},eval", "other.mp4,two,bin,train", head=head)
    arguments = ("-s", "ground-truth", "--data-root", root, "--task", "vts", "--metrics", "duration")
    assert bench.run(*arguments, "--split", "eval").code == 0
    told = bench.run(*arguments, "--split", "evil")
    assert told.code == 2 and "no split 'evil'" in told.err and "'eval'" in told.err
    told = bench.run(*arguments)
    assert told.code == 2 and "'test'" in told.err and "eval" in told.err, "no clip is in the default split"
