"""Settings: precedence, all errors at once, and YAML without its dangers."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.config import effective
from bench.errors import UsageError
from bench.planning import open_dataset


def written(folder: Path, text: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_command_line_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    path = written(tmp_path, "seed: 1\nlimit: 5\nbatch-size: 2\n")
    found = effective({"seed": 3}, path, {"BENCH_SEED": "2", "BENCH_LIMIT": "6"})
    settings = found.settings
    assert (settings.seed, settings.limit, settings.batch_size, settings.retry) == (3, 6, 2, 3)
    assert found.origins["seed"] == "command line"
    assert found.origins["limit"] == "environment BENCH_LIMIT"
    assert found.origins["batch_size"] == f"{path}:3"
    assert found.record()["retry"] == {"value": 3, "from": "default"}


def test_every_error_is_reported_with_its_place(tmp_path: Path) -> None:
    path = written(tmp_path, "system: a\nlimt: 4\nbatch-size: 0\n")
    with pytest.raises(UsageError) as caught:
        effective({"task": ["vts,blah"], "device": "gpu"}, path, {"BENCH_SEED": "-1"})
    message = str(caught.value)
    assert "5 problems" in message
    assert f"{path}:2: unknown setting 'limt'. did you mean 'limit'" in message
    assert f"{path}:3: batch-size = 0" in message and "1 to 4096" in message
    assert "environment BENCH_SEED: seed = '-1'" in message
    assert "command line: device = 'gpu'" in message
    assert "task = 'blah'" in message


def test_lists_and_settings_are_read_from_commas_and_repeats() -> None:
    settings = effective({"system": ["a,b", "c"], "set": ["x=1", "y=0.5", "z=text", "on=true"]}, None, {}).settings
    assert settings.system == ["a", "b", "c"]
    assert settings.set == {"x": 1, "y": 0.5, "z": "text", "on": True}


def test_bench_data_is_where_the_users_data_lie_and_not_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    assert open_dataset("folder", None).root == tmp_path
    assert open_dataset("folder", tmp_path / "other").root == tmp_path / "other"
    folder = open_dataset("demo", None).root
    assert folder is not None and tmp_path / "cache" in folder.parents


BAD_YAML = {
    "alias": ("a: &x [1, 2]\nb: [*x, *x]\n", ":2: aliases"),
    "python tag": ("system: !!python/object/apply:os.system ['true']\n", "tag"),
    "own tag": ("system: !thing a\n", ":1: the tag"),
    "no mapping": ("- a\n- b\n", "mapping of settings is expected"),
    "broken": ("system: [a, b\nseed: 1\n", "run.yaml:"),
    "double key": ("seed: 1\nseed: 2\n", ":2: 'seed' stands twice"),
    "deep": ("set: " + "[" * 40 + "]" * 40 + "\n", "nested deeper"),
    "very deep": ("set: " + "[" * 5000 + "]" * 5000 + "\n", "run.yaml:"),
    "number as key": ("1: 2\n", "1 is no setting's name"),
    "tab": ("system:\t- a\n\tb\n", "run.yaml:"),
    "bad date": ("set: {when: 2020-99-99}\n", ":1:"),
}


@pytest.mark.parametrize("name", BAD_YAML)
def test_yaml_that_is_wrong_or_dangerous_is_refused_with_file_and_line(tmp_path: Path, name: str) -> None:
    text, expected = BAD_YAML[name]
    with pytest.raises(UsageError) as caught:
        effective({}, written(tmp_path, text), {})
    assert expected in str(caught.value)
    assert "run.yaml" in str(caught.value)


def test_yaml_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        effective({}, tmp_path / "absent.yaml", {})
    with pytest.raises(UsageError, match="is a folder"):
        effective({}, tmp_path, {})
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot be read"):
        effective({}, binary, {})
    large = tmp_path / "large.yaml"
    large.write_text("a: " + "x" * (2 << 20))
    with pytest.raises(UsageError, match="larger than 1 MiB"):
        effective({}, large, {})


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert effective({}, written(tmp_path, "\n"), {}).settings == effective({}, None, {}).settings
