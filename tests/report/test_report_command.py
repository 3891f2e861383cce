"""``bench report`` as people call it."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic import Shape, fill

from bench.cli import invoke


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return fill(tmp_path / "store", Shape(clips=12, systems=3, hostile=False))


def test_all_runs_of_a_store(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "report"
    assert invoke(["-q", "report", "--out", str(store), "-o", str(folder), "--title", "A <b>title</b>"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"{folder / 'index.html'}: 3 runs, 12 clips, ")
    assert "not installed here" in said.err
    assert "A &lt;b&gt;title&lt;/b&gt;" in (folder / "index.html").read_text()


def test_named_runs_alone(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["-q", "report", "--out", str(store), "-o", str(tmp_path / "report"), "--media", "none"]
    assert invoke([*command, "anchor"]) == 0
    assert ": 1 runs" in capsys.readouterr().out
    assert "ground-truth" not in (tmp_path / "report" / "index.html").read_text()
    assert invoke([*command, "ankor"]) == 2
    assert "ankor" in capsys.readouterr().err


def test_several_stores(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = fill(tmp_path / "other", Shape(clips=12, systems=2, dataset="second", hostile=False))
    folder = tmp_path / "report"
    command = ["-q", "report", "--out", str(store), "--out", str(other), "-o", str(folder), "--media", "none"]
    assert invoke(command) == 0
    assert ": 5 runs, 24 clips" in capsys.readouterr().out
    assert (folder / "index.html").read_text().count('<section class="board"') == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--media", "coppy"], "did you mean 'copy'"),
        (["--max-media", "much"], "500MB or 2GB"),
        (["--metrics", "werr"], "wer"),
        (["--dataset", "inventd"], "did you mean 'invented'"),
        (["anchor", "--dataset", "invented", "--split", "tset"], "test"),
    ],
)
def test_mistakes_are_refused_with_a_way_out(
    arguments: list[str], said: str, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["-q", "report", "--out", str(store), "-o", str(tmp_path / "report"), *arguments]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "report" / "index.html").exists()


@pytest.mark.parametrize(("text", "size"), [("2GB", 2_000_000_000), ("1.5 MB", 1_500_000), ("10k", 10_000), ("7", 7)])
def test_sizes(text: str, size: int) -> None:
    from bench.commands.report import _bytes

    assert _bytes(text) == size
