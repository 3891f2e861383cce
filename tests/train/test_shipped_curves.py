"""Every shipped checkpoint is what its command makes: the first steps, done again, give the shipped curve."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import pytest

from bench.embedded import facts

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "systems").glob("*/embedded/*.safetensors"))
STEPS = 20
#: Clips of the corpus that a system's shipped checkpoints are trained on.
CLIPS = {"hierspeech": 480, "wav2lip": 480, "talker": 960, "hicodit": 480}
TOLERANCE = 1e-4
NUMERIC = (
    "torch",
    "numpy",
    "scipy",
    "av",
    "opencv-python-headless",
    "dlib-bin",
)  # their versions decide the last digits


def bench(arguments: list[str], place: Path, threads: str = "1") -> None:
    """Run the command line in a process of its own."""
    surroundings = {**os.environ, "BENCH_CACHE": str(place), "OMP_NUM_THREADS": threads}
    done = subprocess.run(
        [sys.executable, "-m", "bench", *arguments], env=surroundings, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


def train_clips(place: Path) -> int:
    """How many training clips the demo corpus in ``place`` has; 0: it has not been made."""
    from bench.datasets.demo.corpus import recipe_key

    path = place / "demo" / recipe_key() / "corpus.json"
    if not path.is_file():
        return 0
    splits = json.loads(path.read_text(encoding="utf-8"))["splits"]
    return int(splits["train"]["clips"]) if "train" in splits else 0


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """A cache with the corpus of so many clips: that of ``BENCH_CACHE`` where it has them, else a new one."""

    @cache
    def made(clips: int) -> Path:
        given = os.environ.get("BENCH_CACHE")
        if given and train_clips(Path(given)) == clips:
            return Path(given)
        folder = tmp_path_factory.mktemp(f"corpus{clips}")
        bench(["data", "make", "demo", "--size", str(clips)], folder)
        assert train_clips(folder) == clips
        return folder

    return made


def again(command: str, folder: Path) -> list[str]:
    """The arguments of ``command``, with fewer steps and into ``folder``."""
    words = shlex.split(command)[1:]
    for names, value in ((("--steps",), str(STEPS)), (("--out", "-o"), str(folder))):
        place = next((i for i, word in enumerate(words) if word in names), None)
        if place is not None:
            words[place + 1] = value
            continue
        words = [word for word in words if not word.startswith(tuple(f"{name}=" for name in names))]
        words += [names[0], value]
    return words


def changed_versions(told: Mapping[str, str]) -> list[str]:
    """What is installed in another version than when the checkpoint was trained."""
    now = {name: importlib.metadata.version(name) for name in NUMERIC if name in told and name != "torch"}
    if "torch" in told:
        now["torch"] = str(__import__("torch").__version__)
    return [f"{name} {told[name]} is {version} here" for name, version in now.items() if told[name] != version]


def test_a_command_is_repeated_with_fewer_steps(tmp_path: Path) -> None:
    command = "bench train x --stage y --steps 800 --set a='b c' --out train/x"
    wanted = ["train", "x", "--stage", "y", "--steps", str(STEPS), "--set", "a=b c", "--out", str(tmp_path)]
    assert again(command, tmp_path) == wanted
    assert again("bench train x --steps=800", tmp_path) == ["train", "x", "--steps", "20", "--out", str(tmp_path)]


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: f"{file.parents[1].name}-{file.stem}")
def test_a_shipped_file_says_how_it_was_made(file: Path) -> None:
    told = facts(file)
    words = shlex.split(told["command"])
    assert words[:3] == ["bench", "train", file.parents[1].name] and told["threads"] == "1"
    assert told["data"].startswith("demo/train@") and 0 < int(told["clips"]) <= CLIPS[file.parents[1].name]
    lines = [json.loads(line) for line in file.with_suffix(".jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["step"] for line in lines] == list(range(1, int(told["steps"]) + 1))
    assert int(words[words.index("--steps") + 1]) == len(lines)


@pytest.mark.slow
@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: f"{file.parents[1].name}-{file.stem}")
def test_the_first_steps_give_the_shipped_curve(file: Path, corpus: Callable[[int], Path], tmp_path: Path) -> None:
    told = facts(file)
    if changed := changed_versions(told):
        pytest.skip(f"trained with other versions: {', '.join(changed)}")
    bench(again(told["command"], tmp_path / "run"), corpus(CLIPS[file.parents[1].name]), told["threads"])
    wanted = file.with_suffix(".jsonl").read_text(encoding="utf-8").splitlines()[:STEPS]
    found = (tmp_path / "run" / "curve.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(found) == STEPS
    for one, other in zip(map(json.loads, found), map(json.loads, wanted), strict=True):
        assert one == pytest.approx(other, rel=TOLERANCE, abs=TOLERANCE), f"step {one['step']}"
