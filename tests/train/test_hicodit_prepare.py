"""``bench data prepare hicodit``: shards of what training reads, made once, gone on with after a stop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from train_kit import make_faces

from bench import cli
from bench.api import Clip, Unscorable
from bench.errors import UsageError
from bench.prepare import Prepared, prepare
from bench.progress import Progress
from bench.shards import PATTERN
from bench.systems.hicodit.prepare import prepared
from bench.systems.hicodit.training.records import RECORDS, ClipRecord
from bench.train_request import TrainRequest


class Makers:
    """Records without a network; ``asked`` are the clips that were made."""

    identity = "toy-0"

    def __init__(self, stops_at: str = "") -> None:
        self.asked: list[str] = []
        self._stops_at = stops_at

    def make(self, clip: Clip) -> ClipRecord:
        if clip.id == self._stops_at:
            raise KeyboardInterrupt
        self.asked.append(clip.id)
        if clip.id.startswith("grey"):
            raise Unscorable("no_face", "grey")
        rng = np.random.default_rng(list(clip.id.encode()))
        return ClipRecord(
            rng.integers(0, 256, (4, 10)).astype(np.int16),
            rng.integers(0, 256, (5, 44, 44)).astype(np.uint8),
            rng.standard_normal(64).astype(np.float32),
            rng.standard_normal(160).astype(np.float32),
            np.array(0, np.int8),
        )


def clips(*names: str) -> list[Clip]:
    return [Clip(name, "toy", "train", None, None, "", f"hash of {name}", 5) for name in names]


def made(names: tuple[str, ...], folder: Path, makers: Makers, shard: int = 2) -> Prepared:
    return prepare(RECORDS, clips(*names), folder, makers, Progress(quiet=True), shard)


NAMES = ("a", "b", "grey", "c", "d", "e")


def test_shards_hold_what_the_makers_make(tmp_path: Path) -> None:
    makers = Makers()
    done = made(NAMES, tmp_path, makers)
    assert (done.made, done.there, dict(done.left_out)) == (5, 0, {"no_face": 1})
    assert str(done) == f"5 clips made, 0 were there, left out: 1 no_face: {RECORDS.folder(tmp_path, makers)}"
    assert len(list(done.folder.glob(PATTERN))) == 3
    for clip in clips("a", "e"):
        found, wanted = RECORDS.kept(done.folder, RECORDS.key(clip)), makers.make(clip)
        assert found is not None
        for name in ("codes", "lip", "face", "voice", "emotion"):
            np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
    assert RECORDS.kept(done.folder, RECORDS.key(clips("grey")[0])) is None


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    made(NAMES[:2], tmp_path, Makers())
    makers = Makers()
    done = made((*NAMES, "a"), tmp_path, makers)
    assert makers.asked == ["grey", "c", "d", "e"]
    assert (done.made, done.there) == (3, 3)
    assert len(list(done.folder.glob(PATTERN))) == 3


def test_a_stopped_call_goes_on(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        made(NAMES, tmp_path, Makers(stops_at="d"))
    makers = Makers()
    done = made(NAMES, tmp_path, makers)
    assert makers.asked == ["grey", "d", "e"]
    assert (done.made, done.there) == (2, 3)


def test_a_damaged_shard_is_made_again(tmp_path: Path) -> None:
    done = made(NAMES[:2], tmp_path, Makers())
    (shard,) = done.folder.glob(PATTERN)
    shard.write_bytes(shard.read_bytes()[:100])
    makers = Makers()
    assert made(NAMES[:2], tmp_path, makers).made == 2


def test_other_makers_have_a_folder_of_their_own(tmp_path: Path) -> None:
    first, other = Makers(), Makers()
    other.identity = "toy-1"
    assert made(("a",), tmp_path, first).folder != made(("a",), tmp_path, other).folder
    assert other.asked == ["a"]


def test_unknown_settings_are_refused(tmp_path: Path) -> None:
    request = TrainRequest("tiny", clips("a"), tmp_path / "demo", "data", settings={"shards": 3})
    with pytest.raises(UsageError, match="shard"):
        prepared(request)
    with pytest.raises(UsageError, match="codec"):
        prepared(replace(request, settings={"codec": str(tmp_path / "none.safetensors")}))


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With the codec that is shipped and dlib: two portraits of four are whole; grey pictures show no face."""
    pytest.importorskip("dlib")
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    root = make_faces(tmp_path / "films", frames=8)
    command = ["data", "prepare", "hicodit", "--config", "tiny", "--dataset", "folder", "--data-root", str(root)]
    command += ["--split", "test", "--device", "cpu"]
    assert cli.invoke(command) == 0
    told = capsys.readouterr().out
    assert "3 clips made, 0 were there, left out: 1 no_face" in told
    assert cli.invoke(command) == 0
    assert "0 clips made, 3 were there" in capsys.readouterr().out
