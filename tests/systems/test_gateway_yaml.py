"""Adapters: what comes with the project, and what a wrong YAML gets."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.api import UsageError
from bench.systems.gateway import config
from bench.systems.gateway.system import Gateway

GOOD = """\
name: toy
kind: gateway
tasks: [a2v]
command: [python, run.py, "{video}", "{audio}", "{out}"]
requires:
  net:
    path: net.pth
    official: net.pth
"""


def problem(tmp_path: Path, text: str) -> str:
    path = tmp_path / "toy.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as error:
        config.load(path)
    return error.value.message


@pytest.mark.parametrize("name", config.names())
def test_every_adapter_of_ours_is_valid_and_says_what_it_lacks(name: str) -> None:
    system = Gateway({"adapter": name})
    assert system.adapter.name == name
    lines = system.missing()
    assert lines and all(len(line) > 40 for line in lines)
    assert system.fingerprint() == Gateway({"adapter": name}).fingerprint()


def test_the_systems_of_the_specification_are_there() -> None:
    available = {name: config.load(config.find(name)) for name in config.names()}
    assert {name for name, adapter in available.items() if not adapter.unavailable} == {
        "wav2lip",
        "wav2lip-gan",
        "talklip",
        "iplap",
        "diff2lip",
        "hierspeechpp",
        "talker-t2av",
    }
    for name in ("hicodit", "avtfg", "plgan"):
        assert Gateway({"adapter": name}).missing()[0].startswith(f"gateway {name}: no public code")


def test_facts_of_the_official_scripts() -> None:
    load = {name: config.load(config.find(name)) for name in config.names()}
    assert load["iplap"].post[0] == "crop_right_half" and load["iplap"].gpu == "required"
    assert "temp" in load["wav2lip"].folders and load["wav2lip"].workdir == "per_job"
    assert load["hierspeechpp"].tasks == ("tts",) and load["hierspeechpp"].collect == "output/voice.wav"
    assert load["talker-t2av"].collect_audio == "out.wav"
    official = " ".join(weight.official for adapter in load.values() for weight in adapter.requires.values())
    for name in (
        "wav2lip.pth",
        "wav2lip_gan.pth",
        "s3fd.pth",
        "base_vox_iter5.pt",
        "renderer_checkpoint.pth",
        "g_best",
    ):
        assert name in official


def test_the_checkout_is_found_by_name_or_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_GATEWAYS", str(tmp_path / "codes"))
    assert Gateway({"adapter": "wav2lip"}).checkout == tmp_path / "codes" / "wav2lip"
    assert Gateway({"adapter": "wav2lip-gan"}).checkout == tmp_path / "codes" / "wav2lip"
    (tmp_path / "toy.yaml").write_text(GOOD + "checkout: ./code\n")
    assert Gateway({"adapter": str(tmp_path / "toy.yaml")}).checkout == tmp_path / "code"
    assert Gateway({"adapter": "wav2lip", "checkout": str(tmp_path)}).checkout == tmp_path


def test_tasks_and_references_are_those_of_the_yaml() -> None:
    assert Gateway({"adapter": "wav2lip"}).tasks == ("a2v",)
    speech = Gateway({"adapter": "hierspeechpp"})
    assert speech.tasks == ("tts",) and speech.uses == {"voice"} and speech.tier == "gateway"


def test_unknown_adapters_are_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="wav2lip") as error:
        Gateway({"adapter": "wav2lpi"})
    assert "did you mean 'wav2lip'" in error.value.hint
    with pytest.raises(UsageError, match="no such file"):
        Gateway({"adapter": "none/toy.yaml"})
    with pytest.raises(UsageError, match="needs an adapter"):
        Gateway({})


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("kind: gateway", "kind: gatewya", 2, "kind: Input should be 'gateway'"),
        ("kind: gateway", "kind: gateway\nshell: true", 3, "never run in a shell"),
        ("kind: gateway", "kind: gateway\ntimeout: 3", 3, "did you mean 'timeout_s'"),
        ("kind: gateway", "kind: gateway\ntimeout_s: -1", 3, "timeout_s: Input should be greater than 0"),
        ("kind: gateway", "kind: gateway\nretries: lots", 3, "retries: Input should be a valid integer"),
        ("kind: gateway", "kind: gateway\npost: [crop_rihgt_half]", 3, "did you mean 'crop_right_half'"),
        ("kind: gateway", "kind: gateway\nlink: [../secret]", 3, "stays inside"),
        ("kind: gateway", "kind: gateway\nfolders: [/tmp/x]", 3, "stays inside"),
        ("kind: gateway", "kind: gateway\nmode: per_list", 1, "list_line: mode per_list needs"),
        ("kind: gateway", "kind: gateway\ncollect: '{video}'", 3, "unknown placeholder {video}"),
        ("kind: gateway", "kind: gateway\nenv: {A: '{vidoe}'}", 3, "unknown placeholder {vidoe}"),
        ("[a2v]", "[a2w]", 3, "did you mean 'a2v'"),
        ("[a2v]", "[]", 3, "at least one"),
        ("{audio}", "{adio}", 4, "unknown placeholder {adio}; did you mean 'audio'"),
        ("{audio}", "{text}", 4, "unknown placeholder {text}"),
        ("{audio}", "{ckpt.ned}", 4, "unknown placeholder {ckpt.ned}; did you mean 'ckpt.net'"),
        ("{audio}", "{audio", 4, "a single '{'"),
        ('"{out}"', "x", 4, "{out} or {stem} is needed"),
        ("[python, run.py,", "[bash, -c,", 4, "without a shell"),
        ('command: [python, run.py, "{video}", "{audio}", "{out}"]', "command: python run.py {out}", 4, "list of arg"),
        ("official: net.pth", "oficial: net.pth", 5, "did you mean 'official'"),
        ("official: net.pth", "official: net.pth\n    sha256: abc", 5, "pattern"),
        ("name: toy", "name: ../toy", 1, "pattern"),
        ("name: toy", "name: toy\nname: toy2", 2, "stands twice"),
        ("name: toy", "name: !!python/object/apply:os.system [ls]", 1, "tag"),
        ("name: toy", "name: &a toy\nsummary: *a", 2, "aliases"),
        ("kind: gateway", "kind: [gateway", 3, ""),
    ],
)
def test_errors_name_file_line_and_remedy(tmp_path: Path, old: str, new: str, line: int, message: str) -> None:
    assert old in GOOD
    text = problem(tmp_path, GOOD.replace(old, new, 1))
    assert message in text
    assert f"toy.yaml:{line}:" in text


def test_all_errors_are_told_at_once(tmp_path: Path) -> None:
    text = problem(tmp_path, GOOD.replace("kind: gateway", "kind: x\nretries: 99\nnonsense: 1"))
    assert text.count("toy.yaml:") == 3


def test_numbers_in_commands_are_arguments(tmp_path: Path) -> None:
    path = tmp_path / "toy.yaml"
    path.write_text(GOOD.replace('"{out}"]', '"{out}", --fps, 25, --scale, 0.5]'))
    assert config.load(path).command[-4:] == ("--fps", "25", "--scale", "0.5")


@given(st.text(alphabet="{}ab", max_size=12))
def test_fill_and_placeholders_agree(template: str) -> None:
    try:
        names = config.placeholders(template)
    except ValueError:
        return
    filled = config.fill(template, dict.fromkeys(names, "<"))
    assert filled.count("<") >= len(names)
    assert config.fill(template, dict.fromkeys(names, "{a}")).count("{a}") >= len(names)  # values are not expanded
