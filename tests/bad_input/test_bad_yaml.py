"""YAML that is wrong or meant to do harm: exit code 2 with file and line, nothing expanded, nothing run."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
from bad_kit import Bench

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join(['*' + old] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)

#: name: (content of the file, what stderr must hold)
FILES: dict[str, tuple[bytes, list[str]]] = {
    "unknown key": (b"system: ground-truth\n\nlimt: 3\n", [":3: unknown setting 'limt'", "'limit'"]),
    "unknown keys": (b"limt: 3\nsytem: x\n", ["2 problems", ":1: ", ":2: ", "'system'"]),
    "wrong type": (b"\nworkers: lots\n", [":2: workers = 'lots'", "0 to 1024"]),
    "out of range": (b"seed: -1\n", [":1: seed = -1", "0 to 2^63 - 1"]),
    "list for a number": (b"seed: [1, 2]\n", [":1: seed = [1, 2]"]),
    "mapping for a name": (b"task: {vts: true}\n", [":1: task"]),
    "not a number": (b"timeout: .nan\n", [":1: timeout = nan"]),
    "endless": (b"timeout: .inf\n", [":1: timeout = inf"]),
    "very large number": (b"seed: 1" + b"0" * 5000 + b"\n", [":1: "]),
    "python object": (b"out: !!python/object/apply:os.system ['touch pwned']\n", [":1: the tag", "python/object"]),
    "python name": (b"limit: !!python/name:os.system\n", [":1: the tag"]),
    "own tag": (b"system: !run ground-truth\n", [":1: the tag '!run' is not allowed"]),
    "tag of the whole file": (b"!!python/dict\nseed: 1\n", [":1: the tag"]),
    "aliases": (b"system: &s [ground-truth]\ndataset: *s\n", [":2: aliases"]),
    "billion laughs": (BOMB.encode(), [":2: aliases"]),
    "merge key": (b"x: &x {limit: 1}\n<<: *x\n", [":2: aliases"]),
    "nested 100 deep": (b"set: " + b"[" * 100 + b"]" * 100 + b"\n", [":1: nested deeper than 32 levels"]),
    "nested 100,000 deep": (b"set: " + b"[" * 100_000 + b"]" * 100_000 + b"\n", [":1: "]),
    "key twice": (b"limit: 1\nseed: 2\nlimit: 3\n", [":3: 'limit' stands twice (first on line 1)"]),
    "key that is no word": (b"3: 4\n", [":1: 3 is no setting's name"]),
    "list": (b"- system: ground-truth\n", [":1: a mapping of settings is expected"]),
    "plain text": (b"ground-truth\n", [":1: a mapping of settings is expected"]),
    "two documents": (b"limit: 1\n---\nlimit: 2\n", [":2: expected a single document"]),
    "tabulator": (b"set:\n\trate: 3\n", [":2: "]),
    "open bracket": (b"system: [ground-truth\nseed: 1\n", [":2: "]),
    "NUL byte": (b"system: ground\0truth\n", [".yaml:1: holds a character"]),
    "latin 1": ("system: böse\n".encode("latin-1"), ["bad.yaml cannot be read", "UTF-8"]),
    "two megabytes": (b"# x\n" * 600_000, ["larger than 1 MiB"]),
}


@pytest.mark.parametrize("name", FILES)
def test_bad_settings_file(name: str, bench: Bench, good: Path, tmp_path: Path) -> None:
    content, expected = FILES[name]
    (tmp_path / "bad.yaml").write_bytes(content)
    before, memory = bench.state(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    told = bench("run", "-q", "-s", "ground-truth", "-d", "folder", "--data-root", good, "--config", "bad.yaml")
    assert told.code == 2
    assert told.err.startswith("bench: ") and "\n  " in told.err, "message and hint"
    assert "bad.yaml" in told.err and len(told.err) < 2000
    assert not [part for part in expected if part not in told.err], told.err
    assert not (tmp_path / "pwned").exists()
    assert bench.state() == before
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 200 * 1024, "KiB"


#: The same for the YAML of a gateway: name: (content, what stderr must hold)
GATEWAYS: dict[str, tuple[str, list[str]]] = {
    "unknown key": ("name: g\nkind: gateway\ncomand: [x]\n", ["comand"]),
    "bomb": (BOMB, [":2: aliases"]),
    "tag": ("name: !!python/object/new:os.system [touch pwned]\n", [":1: the tag"]),
    "shell": ("name: g\nkind: gateway\ntasks: [a2v]\ncommand: [bash, -c, 'touch pwned {out}']\n", ["without a shell"]),
    "line for a shell": ("name: g\nkind: gateway\ntasks: [a2v]\ncommand: touch pwned {out}\n", ["list of arguments"]),
    "unknown placeholder": ("name: g\nkind: gateway\ntasks: [a2v]\ncommand: [x, '{vidio}', '{out}']\n", ["vidio"]),
    "attribute of a placeholder": (
        "name: g\nkind: gateway\ntasks: [a2v]\ncommand: [x, '{out.__class__}', '{out}']\n",
        ["out.__class__"],
    ),
    "folder outside": ("name: g\nkind: gateway\ntasks: [a2v]\ncommand: [x, '{out}']\nlink: [../../etc]\n", ["inside"]),
}


@pytest.mark.parametrize("name", GATEWAYS)
def test_bad_gateway_file(name: str, bench: Bench, good: Path, tmp_path: Path) -> None:
    content, expected = GATEWAYS[name]
    (tmp_path / "bad.yaml").write_text(content)
    before = bench.state()
    told = bench.run("-s", "gateway:bad.yaml", "--data-root", good, "--task", "a2v", "--metrics", "duration")
    assert told.code == 2
    assert "bad.yaml" in told.err and not [part for part in expected if part not in told.err], told.err
    assert not (tmp_path / "pwned").exists()
    assert bench.state() == before
