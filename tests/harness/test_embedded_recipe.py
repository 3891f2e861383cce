"""The shipped checkpoints are what ``make embedded`` says: same commands, whole curves, and small."""

from __future__ import annotations

import itertools
import json
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from bench.embedded import facts, read
from bench.weights_verify import not_finite

ROOT = Path(__file__).parents[2]
SHIPPED = sorted(ROOT.glob("systems/*/embedded/*.safetensors"))
#: By issue: the cascade with Wav2Lip, Talker-T2AV, and HiCoDiT.
MOST_BYTES = {("hierspeech", "wav2lip"): 24 * 10**6, ("talker",): 12 * 10**6, ("hicodit",): 10 * 10**6}


def options(words: list[str]) -> dict[str, list[str]]:
    """The options of a ``bench train``, without where it writes; the system is one of them."""
    found: dict[str, list[str]] = {"system": [words[words.index("train") + 1]]}
    for name, value in itertools.pairwise(words):
        if name.startswith("--") and name not in {"--out", "--every", "--device"}:
            found.setdefault(name, []).append(value)
    return found


@pytest.fixture(scope="module")
def recipes() -> dict[str, dict[str, list[str]]]:
    """The training of each file, as the Makefile has it."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    done = subprocess.run(["make", "-n", "embedded"], capture_output=True, text=True, cwd=ROOT, check=True)
    lines = [shlex.split(line) for line in done.stdout.replace("\\\n", " ").splitlines()]
    trained = {words[words.index("--out") + 1]: words for words in lines if "train" in words}
    shipped = [words for words in lines if "bench.embedded" in words]
    return {words[-1]: options(trained[words[-3]]) for words in shipped}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_a_file_is_whole_and_says_how_it_came_about(path: Path, recipes: dict[str, dict[str, list[str]]]) -> None:
    told = facts(path)
    assert not not_finite(read(path))
    name = str(path.relative_to(ROOT))
    assert options(shlex.split(told["command"])) == recipes[name], name
    assert told["threads"] == "1"
    assert told["seed"] == "0"
    assert told["data"].startswith("demo/train@")
    curve = [json.loads(line) for line in path.with_suffix(".jsonl").read_text().splitlines()]
    assert [line["step"] for line in curve] == list(range(1, int(told["steps"]) + 1))


@pytest.mark.parametrize("systems", MOST_BYTES)
def test_all_of_a_system_are_small(systems: tuple[str, ...]) -> None:
    assert sum(path.stat().st_size for path in SHIPPED if path.parts[-3] in systems) <= MOST_BYTES[systems]


def test_every_system_that_ships_files_has_its_bound() -> None:
    assert {path.parts[-3] for path in SHIPPED} == {name for systems in MOST_BYTES for name in systems}
