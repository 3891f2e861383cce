"""``bench weights list|add|verify|where``: what is printed, and exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from weights_kit import HALF, TOY, half_manifest, many_manifest, state, toy_manifest

from bench import cli, weights


def saved(path: Path, what: object) -> Path:
    torch.save(what, path)
    return path


def listed(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, object]]:
    assert cli.invoke(["weights", "list", "--json"]) == 0
    return {row["file"]: row for row in json.loads(capsys.readouterr().out)}


def test_list_says_what_is_needed_and_what_is_here(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = listed(capsys)
    assert list(rows) == ["toy.pth", "half.pt", "many.model"]
    assert rows["toy.pth"] == {
        "file": "toy.pth",
        "tier": "canonical",
        "state": "missing",
        "size": None,
        "used by": ["kit"],
        "licence": "MIT",
        "source": "somebody/net",
    }
    path = saved(tmp_path / "x.pth", state(toy_manifest()))
    assert cli.invoke(["weights", "add", str(path)]) == 0
    saved(home / "half.pt", state(half_manifest()))  # put there by hand
    (home / "many.model.safetensors").write_bytes(b"damaged")
    capsys.readouterr()
    rows = listed(capsys)
    assert rows["toy.pth"]["state"] == weights.sha256(path)[:12]
    assert rows["half.pt"]["state"] == f"not added yet: bench weights add {home / 'half.pt'}"
    assert str(rows["many.model"]["state"]).startswith("unusable: ")
    assert cli.invoke(["weights", "list"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].split() == ["file", "tier", "state", "size", "used", "by", "licence", "source"]
    assert "missing" not in out


def test_add_goes_on_after_a_refusal(tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = saved(tmp_path / "good.pth", state(toy_manifest()))
    bad = saved(tmp_path / "bad.pth", [1])
    other = saved(tmp_path / "half.pt", {"model": state(half_manifest())})
    assert cli.invoke(["weights", "add", str(bad), str(good), str(other)]) == 1
    found = capsys.readouterr()
    assert "bad.pth holds a list" in found.err
    assert f"{good}: added as toy.pth ({weights.sha256(good)[:12]}): {home / 'toy.pth.safetensors'}" in found.out
    assert "added as half.pt" in found.out
    assert cli.invoke(["weights", "add", str(good)]) == 0
    assert "is here already as toy.pth" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["add"], 2, "files"),
        (["add", "absent.pth"], 2, "no such file"),
        (["add", "a.pth", "b.pth", "--as", "toy.pth"], 2, "is for one file"),
        (["add", "a.pth", "--sa", "toy.pth"], 2, "--sa"),
        (["verify", "toi.pth"], 2, "did you mean 'toy.pth'"),
        (["verify", "toy.pth"], 1, "official source: somebody/net"),
        (["verfy"], 2, "verfy"),
    ],
)
def test_wrong_use(arguments: list[str], code: int, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke(["weights", *arguments]) == code
    found = capsys.readouterr()
    assert told in found.out + found.err


def test_an_unknown_name_is_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(tmp_path / "x.pth", state(toy_manifest()))
    assert cli.invoke(["weights", "add", str(path), "--as", "toi.pth"]) == 2
    assert "did you mean 'toy.pth'" in capsys.readouterr().err


def test_as_names_what_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(tmp_path / "x.pth", state(many_manifest()))
    assert cli.invoke(["weights", "add", str(path), "--as", "toy.pth"]) == 1
    assert "37 tensors differ (7 missing, 30 not expected)" in capsys.readouterr().err


def test_verify_finds_every_kind_of_damage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke(["weights", "verify"]) == 0
    assert "no weight file is here yet" in capsys.readouterr().out
    for name, made in (("t", toy_manifest()), ("h", half_manifest())):
        assert cli.invoke(["weights", "add", str(saved(tmp_path / name, state(made)))]) == 0
    assert cli.invoke(["weights", "verify"]) == 0
    capsys.readouterr()
    path = weights.locate(TOY)
    assert path is not None
    whole = path.read_bytes()
    damage = {
        "a bit": whole[:-40] + bytes([whole[-40] ^ 1]) + whole[-39:],
        "cut": whole[:-40],
        "a name": whole.replace(b'"conv.bias"', b'"conv.bios"'),
        "a record": whole.replace(b'"source_sha256"', b'"source_sha999"'),
    }
    for content in damage.values():
        path.write_bytes(content)
        assert cli.invoke(["weights", "verify", "--json"]) == 1
        rows = {row["file"]: row for row in json.loads(capsys.readouterr().out)}
        assert rows["toy.pth"]["state"] == "refused" and str(path) in rows["toy.pth"]["detail"]
        assert rows["half.pt"]["state"] == "ok"
        with pytest.raises(weights.DataError):
            weights.tensors(TOY)
    assert cli.invoke(["weights", "verify", HALF.name]) == 0


def test_where(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke(["weights", "where"]) == 0
    assert capsys.readouterr().out.strip() == str(home)


def test_listing_loads_no_numeric_library() -> None:
    code = (
        "import sys; from bench import cli; code = cli.invoke(['weights', 'list', '--json'])\n"
        "sys.exit(code or [m for m in ('torch', 'numpy', 'safetensors') if m in sys.modules] or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
