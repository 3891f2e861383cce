"""``tables:`` in a settings file: shape, names, precedence, and every error at once with its line."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from bench.block_work import Blocks, BlockWork
from bench.blocks import TableBlock
from bench.config import Effective, effective
from bench.errors import UsageError
from bench.progress import Progress

BLOCK = """\
tables:
  - name: one
    title: One
    task: a2v
    systems: [ground-truth, still-face]
    metrics: [psnr/rgb@1]
"""


def read(folder: Path, text: str, environ: dict[str, str] | None = None, **given: object) -> Effective:
    path = folder / "paper.yaml"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return effective(given, path, environ or {})


def refusal(folder: Path, text: str, environ: dict[str, str] | None = None, **given: object) -> str:
    with pytest.raises(UsageError) as caught:
        read(folder, text, environ, **given)
    return str(caught.value)


def settings_of(found: Effective, index: int = 0, number: int = 0, dataset: str = "demo") -> Effective:
    assert found.tables is not None
    return Blocks(found, found.tables).row_settings(index, number, dataset)


def test_a_block_is_a_command_of_its_own(tmp_path: Path) -> None:
    found = read(tmp_path, BLOCK + "limit: 3\n", limit=2)
    row = settings_of(found, 0, 1)
    assert row.settings.system == ["still-face"] and row.settings.task == ["a2v"]
    assert row.settings.limit == 2 and row.settings.metrics == ["psnr/rgb@1"]
    assert row.row == "one: still-face"
    record = row.record()
    assert record["row"] == {"value": "one: still-face", "from": f"{tmp_path / 'paper.yaml'}:5"}
    assert record["task"]["from"] == f"{tmp_path / 'paper.yaml'}:5"
    assert record["limit"]["from"] == "command line"


def test_a_row_overrides_its_block() -> None:
    block = TableBlock.model_validate(
        {
            "name": "b", "title": "B", "task": "a2v", "audio": "tts", "pairing": "cross", "reference": "same",
            "systems": ["x", {"system": "y", "task": "t2av"}, {"system": "z", "reference": "none", "audio": "real"}],
        }
    )  # fmt: skip
    assert [block.condition(row) for row in block.systems] == [
        ("a2v", "cross", "tts", "same"),
        ("t2av", "cross", "real", "same"),  # another task is not driven by audio
        ("a2v", "cross", "real", "none"),
    ]


def test_metrics_by_data_set_and_by_the_command_line(tmp_path: Path) -> None:
    text = BLOCK.replace("[psnr/rgb@1]", "{default: [psnr/gray@1, duration], demo: 'lmd, psnr/rgb@1'}")
    found = read(tmp_path, text, dataset=["demo,folder"])
    assert settings_of(found, dataset="folder").settings.metrics == ["psnr/gray@1", "duration/abs@1"]
    demo = settings_of(found).settings.metrics
    assert demo[-1] == "psnr/rgb@1" and demo[0].startswith("lmd/"), "the order of the file"
    assert settings_of(read(tmp_path, text, metrics=["duration"])).settings.metrics == ["duration/abs@1"]
    assert settings_of(read(tmp_path, text, {"BENCH_METRICS": "duration"})).settings.metrics == ["duration/abs@1"]


def test_metrics_that_cannot_run_here_are_left_out_unless_asked_for_or_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path / "none"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "none"))
    found = read(tmp_path, BLOCK.replace("[psnr/rgb@1]", "[csim/arcface-r100@1, psnr/rgb@1]"))
    assert settings_of(found).settings.metrics == ["psnr/rgb@1"]
    alone = read(tmp_path, BLOCK.replace("[psnr/rgb@1]", "[csim/arcface-r100@1]"))
    with pytest.raises(UsageError, match="one: none of its metrics can run here"):
        settings_of(alone)
    with pytest.raises(UsageError, match="cannot run here"):
        settings_of(read(tmp_path, BLOCK, metrics=["csim/arcface-r100@1"]))


SETTINGS = """\
set: {noise_scale: 0.1, hierspeech.noise_scale_ttv: 0.2}
tables:
  - name: one
    title: One
    task: t2av
    reference: same
    set: {length_scale: 1.5}
    systems:
      - system: hierspeech
        set: {noise_scale: 0.3}
      - {system: still-face, task: a2v, audio: tts, set: {tts_system: hierspeech, tts_reference: same}}
    metrics: [duration]
"""


def test_settings_of_a_row_and_of_the_system_that_speaks(tmp_path: Path) -> None:
    found = read(tmp_path, SETTINGS)
    assert settings_of(found).settings.set == {
        "noise_scale": 0.3, "hierspeech.noise_scale_ttv": 0.2, "length_scale": 1.5,
    }  # fmt: skip
    assert settings_of(found, 0, 1).settings.set == {
        "tts_system": "hierspeech", "tts_reference": "same", "hierspeech.noise_scale": 0.1,
        "hierspeech.noise_scale_ttv": 0.2, "hierspeech.length_scale": 1.5,
    }  # fmt: skip
    there = SETTINGS.replace("set: {noise_scale: 0.3}", "set_on: {folder: {noise_scale: 0.5}}")
    both = read(tmp_path, there, dataset=["demo,folder"])
    assert [settings_of(both, dataset=name).settings.set["noise_scale"] for name in ("demo", "folder")] == [0.1, 0.5]
    stronger = read(tmp_path, there, dataset=["folder"], set=["noise_scale=0.9"])
    assert settings_of(stronger, dataset="folder").settings.set["noise_scale"] == 0.9
    stronger = settings_of(read(tmp_path, SETTINGS, set=["noise_scale=0.9"]))
    assert stronger.settings.set == {"noise_scale": 0.9, "length_scale": 1.5}


def test_every_error_of_a_file_at_once(tmp_path: Path) -> None:
    message = refusal(
        tmp_path,
        """\
        limt: 3
        seed: -1
        published: true
        tables:
          - name: one
            title: One
            task: a2w
            systems: [ground-truth]
          - nmae: two
            title: Two
            task: a2v
            systems:
              - {system: still-face, optionel: true}
        """,
    )
    path = tmp_path / "paper.yaml"
    assert "6 problems" in message, message
    assert f"{path}:1: unknown setting 'limt'. did you mean 'limit'" in message
    assert f"{path}:2: seed = -1" in message
    assert f"{path}:7: tables: task = 'a2w'. did you mean 'a2v'" in message
    assert f"{path}:9: tables: name is missing" in message
    assert f"{path}:9: tables: unknown key 'nmae'. did you mean 'name'" in message
    assert f"{path}:13: tables: unknown key 'optionel'. did you mean 'optional'" in message


def test_every_unknown_name_of_a_file_at_once(tmp_path: Path) -> None:
    message = refusal(
        tmp_path,
        """\
        set: {noise_scal: 1}
        tables:
          - name: one
            title: One
            task: a2v
            systems:
              - ground-thruth
              - {system: still-face, printed: Wav2Lipp}
              - {system: espeak}
              - {system: hierspeech, set: {face_checkpoin: stage1}}
              - {system: wav2lip, audio: tts, set: {tts_system: espaek}}
              - {system: "gateway:wav2lp", optional: true}
              - {system: wav2lip, name: too much, set: {pads: [1, 2]}}
              - {system: wav2lip, name: there, set_on: {dmeo: {pads: 0}, demo: {pds: 0, batch_size: few}}}
            metrics: {default: [psnr/rbg@1], dmeo: [psnr]}
            published: {source: seed-003, table: 1}
          - name: one
            title: Two
            task: tts
            audio: tts
            systems: [espeak, {name: espeak, system: ground-truth}]
            published: {source: seed-03, table: Table 9}
        """,
    )
    path = tmp_path / "paper.yaml"
    for line, text in {
        7: "one: 'ground-thruth' 'ground-truth'",
        8: "one: the paper has no row 'Wav2Lipp' there. did you mean 'Wav2Lip'",
        9: "one: system 'espeak' does no a2v",
        10: "face_checkpoin: system 'hierspeech' has no such setting",
        11: "tts_system 'espaek' is unknown. did you mean 'espeak'",
        12: "unknown gateway 'wav2lp' 'wav2lip'",
        13: "one: set pads.2 for wav2lip: Field required; set pads.3",
        15: "metrics of an unknown data set 'dmeo'. did you mean 'demo'",
        17: "two blocks are called 'one'",
        21: "two rows are called 'espeak'",
        22: "source 'seed-03' is unknown. did you mean 'seed-003'",
    }.items():
        found = [one for one in message.splitlines() if f"{path}:{line}: " in one]
        assert any(_like(text, one) for one in found), (line, text, message)
    for text in (
        "settings on an unknown data set 'dmeo'",
        "set pds: system 'wav2lip'",
        "set batch_size = 'few' for wav2lip",
    ):
        assert f"{path}:14: " in next(line for line in message.splitlines() if text in line), message
    assert "metric 'psnr/rbg@1' is unknown" in message and "'psnr/rgb@1'" in message
    assert "--audio tts: task tts is not driven by audio" in message
    assert "set noise_scal: no system of the tables has it" in message and "noise_scale" in message


def _like(text: str, line: str) -> bool:
    """Whether the words of ``text`` stand in ``line`` in order."""
    at = 0
    for word in text.split():
        at = line.find(word, at)
        if at < 0:
            return False
    return True


HOSTILE = {
    "no list": ("tables: {name: x}\n", ":1: tables: a list of blocks is expected"),
    "empty": ("tables: []\n", ":1: tables: a list of blocks is expected"),
    "null": ("tables:\n", ":1: tables: a list of blocks is expected"),
    "words": ("tables: [a, b]\n", ":1: tables: a block = 'a'"),
    "no systems": (BLOCK.replace("[ground-truth, still-face]", "[]"), ":5: tables: systems"),
    "a number for a system": (BLOCK.replace("still-face]", "3]"), ":5: tables: systems.1"),
    "a list for a name": (BLOCK.replace("name: one", "name: [one]"), ":2: tables: name"),
    "a name that is a path": (BLOCK.replace("name: one", "name: ../../etc"), ":2: tables: name"),
    "a key twice": (BLOCK.replace("    title: One\n", "    title: One\n    title: Two\n"), ":4: 'title' stands twice"),
    "an alias": ("x: &a [1]\n" + BLOCK + "  - *a\n", "aliases"),
    "a tag": (BLOCK.replace("One", "!!python/name:os.system One"), ":3: the tag"),
    "deep": ("tables: " + "[" * 60 + "]" * 60 + "\n", "nested deeper"),
    "metrics of nothing": (BLOCK.replace("[psnr/rgb@1]", "{demo: []}"), ":6: tables: metrics"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_blocks(tmp_path: Path, name: str) -> None:
    text, expected = HOSTILE[name]
    message = refusal(tmp_path, text)
    assert expected in message, message
    assert "paper.yaml" in message and len(message) < 2000


@pytest.mark.parametrize("option", ["system", "task", "pairing", "audio", "reference"])
def test_what_blocks_say_is_said_nowhere_else(tmp_path: Path, option: str) -> None:
    value = {"system": "espeak", "task": "a2v", "pairing": "cross", "audio": "tts", "reference": "same"}[option]
    assert f"command line: {option} is what each block" in refusal(tmp_path, BLOCK, **{option: value})
    assert f"BENCH_{option.upper()}: {option} is" in refusal(tmp_path, BLOCK, {f"BENCH_{option.upper()}": value})
    assert f"paper.yaml:1: {option} is what" in refusal(tmp_path, f"{option}: {value}\n" + BLOCK)


def test_the_block_in_the_readme_is_right(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    text = next(part.partition("```")[0] for part in readme.split("```yaml\n")[1:] if "tables:" in part)
    found = read(tmp_path, text)
    assert found.tables is not None and found.settings.published
    assert [row.label for row in found.tables.blocks[0].systems] == [
        "still-face", "wav2lip", "first stage only", "from text",
    ]  # fmt: skip


def test_the_papers_own_file_is_right() -> None:
    path = Path(__file__).parents[2] / "results" / "paper" / "joint_t2av.yaml"
    found = effective({}, path, {})
    assert found.tables is not None
    names = [block.name for block in found.tables.blocks]
    assert names == ["table-1-real", "table-1-tts", "table-2-real", "table-2-tts", "table-3", "table-4"]
    canonical = {"fid", "lse", "utmos"}
    for block in found.tables.blocks:
        assert block.published is not None
        demo = block.metrics_for("demo")
        assert demo and not canonical & {pid.partition("/")[0] for pid in demo}
        assert block.metrics_for("lrs2") == block.metrics_for("lrs3") != demo


def test_several_tables_of_papers_beside_a_block(tmp_path: Path) -> None:
    text = BLOCK + "    published:\n      - {source: seed-003, table: 1}\n      - {source: seed-003, table: 4}\n"
    found = read(tmp_path, text)
    assert found.tables is not None
    assert [one.table for one in found.tables.blocks[0].published] == ["Table 1", "Table 4"]
    message = refusal(tmp_path, text.replace("table: 4", "table: 9"))
    assert "paper.yaml:9: one: table 'Table 9' is unknown" in message, message
    message = refusal(tmp_path, text.replace("table: 4", "tabel: 4"))
    assert "paper.yaml:9: tables: unknown key 'tabel'. did you mean 'table'" in message, message


def test_a_data_set_that_is_not_here_is_left_out_of_optional_blocks(tmp_path: Path) -> None:
    text = BLOCK.replace("a2v", "vts").replace("still-face", "shuffled").replace("psnr/rgb@1", "dnsmos/speechmos@1")
    with pytest.raises(UsageError, match="no data root for 'lrs3'"):
        planned(read(tmp_path, text, dataset=["lrs3"]))
    optional = read(tmp_path, text + "    optional: true\n", dataset=["lrs3,cinepile"])
    with pytest.raises(UsageError) as caught:
        planned(optional)
    lines = str(caught.value).splitlines()
    assert lines[0] == "nothing to do: no row of the tables can run here:"
    assert [line.partition(":")[0].strip() for line in lines[1:3]] == [
        "lrs3 is left out of one", "cinepile is left out of one",
    ]  # fmt: skip
    assert "--data-root" in lines[1]


def planned(found: Effective) -> BlockWork:
    assert found.tables is not None
    return Blocks(found, found.tables).plan(None, Progress(quiet=True))


@pytest.mark.parametrize(("name", "blocks"), [("vts", ["vts", "ablations"]), ("vts_steps", ["tau", "confidence"])])
def test_the_files_of_video_to_speech_are_right(name: str, blocks: list[str]) -> None:
    path = Path(__file__).parents[2] / "results" / "paper" / f"{name}.yaml"
    found = effective({}, path, {})
    assert found.tables is not None
    assert [block.name for block in found.tables.blocks] == blocks
    assert all(block.task == "vts" for block in found.tables.blocks)
