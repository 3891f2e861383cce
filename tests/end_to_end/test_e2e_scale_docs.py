"""What docs/scale.md tells to do: its commands exist, parts of a split make the whole table, the manifest is sound."""

from __future__ import annotations

import re
import shlex
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from e2e_kit import bench

from bench import cli

DOCS = Path(__file__).parents[2] / "docs"
COMMON = ("--dataset", "folder", "--task", "a2v", "--system", "ground-truth,shuffled", "--workers", 0)
METRICS = ("--metrics", "psnr/rgb@1,duration")


def options_of(verb: str, capsys: pytest.CaptureFixture[str]) -> set[str]:
    """The options that a verb has, by its help."""
    capsys.readouterr()
    assert cli.invoke([*verb.split(), "--help"]) == 0
    return set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out))


def commands() -> list[list[str]]:
    """Every command line of bench in the guide and in the manifest."""
    text = (DOCS / "scale.md").read_text(encoding="utf-8").replace("\\\n", " ")
    manifest = yaml.safe_load((DOCS / "rayjob.yaml").read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if re.match(r"\s+bench \w|exec bench ", line)]
    return [shlex.split(line.removeprefix("exec "), comments=True) for line in [*lines, manifest["spec"]["entrypoint"]]]


def test_every_option_of_the_guide_is_one_of_the_verb(capsys: pytest.CaptureFixture[str]) -> None:
    found = commands()
    assert len(found) >= 8
    assert {words[0] for words in found} == {"bench"}
    for words in found:
        verb = " ".join(words[1:3]) if words[1] == "data" else words[1]
        used = {option for word in words for option in re.findall(r"^--[a-z][a-z-]+", word)}
        assert used <= options_of(verb, capsys), words


def test_parts_in_stores_of_their_own_make_the_table_of_the_whole(
    talks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = ("--data-root", talks)
    bench("run", *COMMON, *METRICS, *root, "--pairing", "cross", "--out", tmp_path / "whole")
    capsys.readouterr()
    bench("data", "clips", "folder", *root)
    listing = capsys.readouterr().out
    assert len(listing.splitlines()) == 10
    (tmp_path / "clips.txt").write_text(listing)
    (tmp_path / "parts").mkdir()
    split = ["split", "--number=r/3", "--numeric-suffixes", "--suffix-length=2", "clips.txt", "parts/clips-"]
    subprocess.run(split, cwd=tmp_path, check=True)
    stores: list[object] = []
    for part in sorted((tmp_path / "parts").iterdir()):
        out = tmp_path / "stores" / part.name
        bench("run", *COMMON, *METRICS, *root, "--pairing", "cross", "--clips", f"@{part}", "--out", out)
        stores += ["--out", out]
    assert len(stores) == 6
    for target, named in (("whole.csv", ["--out", tmp_path / "whole"]), ("parts.csv", stores)):
        bench("leaderboard", *named, "-f", "csv", "--save", tmp_path / target)
    assert (tmp_path / "parts.csv").read_text() == (tmp_path / "whole.csv").read_text()


def test_the_manifest_has_its_parts_and_says_what_was_not_tried() -> None:
    text = (DOCS / "rayjob.yaml").read_text(encoding="utf-8")
    assert text.startswith("#") and "Not tried" in text.split("apiVersion")[0]
    job: dict[str, Any] = yaml.safe_load(text)
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert job["spec"]["shutdownAfterJobFinishes"] and job["spec"]["backoffLimit"] >= 1
    cluster = job["spec"]["rayClusterSpec"]
    (group,) = cluster["workerGroupSpecs"]
    head, worker = (part["template"]["spec"] for part in (cluster["headGroupSpec"], group))
    for pod in (head, worker):
        (container,) = pod["containers"]
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
        assert container["image"] == head["containers"][0]["image"]
        assert container["resources"]["requests"] == container["resources"]["limits"]
    mounts = {mount["name"]: mount["mountPath"] for mount in head["containers"][0]["volumeMounts"]}
    words = shlex.split(job["spec"]["entrypoint"])
    value = dict(pairwise(words))
    assert value["--out"].startswith(mounts["store"] + "/")  # a disk of the head's own, which no worker has
    assert value["--media-root"].startswith(mounts["shared"] + "/")
    assert int(value["--workers"]) == group["replicas"]
    assert "store" not in {volume["name"] for volume in worker["volumes"]}
