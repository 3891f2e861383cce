"""`bench conformance` tells every way in which an answer can be wrong, and skips nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from bench import conformance
from bench.conformance import Fill, find_cases, run
from bench.conformance_compare import JsonKeys, compare_json, inputs_only
from bench.detfill import fill_module, tensor_values, uniform
from bench.errors import DataError, UsageError

INPUTS = {"in.x": np.arange(6, dtype=np.float32).reshape(2, 3)}
OUTPUTS = {
    "out.double": 2 * INPUTS["in.x"],
    "out.sum": np.array([15.0]),
    "out.odd": np.array([np.nan, np.inf, -np.inf, 1.0]),
    "out.count": np.array([6]),
}
ANSWER = {"double": OUTPUTS["out.double"], "sum": 15.0, "odd": OUTPUTS["out.odd"], "count": 6}


@pytest.fixture
def golden(tmp_path):
    """A golden folder with one case, ``toy/one`` of operation ``twice``."""
    folder = tmp_path / "golden" / "toy"
    folder.mkdir(parents=True)
    header = {"op": "twice", "case": "one", "component": "toy", "config": '{"factor": 2}', "fill": "none"}
    header |= {"gain": "1.0", "keep": "[]", "rtol": "1e-5", "atol": "1e-6", "note": ""}
    save_file(INPUTS | OUTPUTS, folder / "one.safetensors", metadata=header)
    listing = [{"case": "one", "op": "twice", "file": "one.safetensors", "what": "", "config": {"factor": 2}}]
    (folder / "cases.json").write_text(json.dumps(listing))
    return folder.parent


@pytest.fixture
def serve(monkeypatch):
    """Serve an operation by a function; returns the tables to run with."""

    def make(function, op="twice", component="toy"):
        module = type(sys)("toy_adapters")
        module.function = function
        monkeypatch.setitem(sys.modules, "toy_adapters", module)
        return {component: {op: "toy_adapters:function"}}

    return make


def answering(**changes):
    answer = {k: v for k, v in {**ANSWER, **changes}.items() if v is not None}
    return lambda config, inputs, fill: answer


def test_a_right_answer_passes_and_sees_inputs_and_config_alone(golden, serve):
    seen = {}

    def adapter(config, inputs, fill):
        seen.update(config=config, inputs=inputs, fill=fill)
        return {**ANSWER, "more": "is ignored"}

    (result,) = run(golden, tables=serve(adapter))
    assert (result.component, result.case, result.op, result.status) == ("toy", "one", "twice", "pass")
    assert result.passed
    assert not result.detail
    assert seen["config"] == {"factor": 2}
    assert list(seen["inputs"]) == ["x"]
    np.testing.assert_array_equal(seen["inputs"]["x"], INPUTS["in.x"])
    assert seen["fill"] == Fill("none", 1.0, (), {}, seen["fill"].header, golden / "toy")
    assert seen["fill"].header["case"] == "one"


DOUBLE = OUTPUTS["out.double"]


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"double": DOUBLE + 1e-3}, "double: 6 of 6 values differ"),
        ({"double": DOUBLE * (1 + 1e-4)}, "double: 5 of 6 values differ, worst 10.0010004 for 10 at 5"),
        ({"double": DOUBLE.T}, "double: shape (3, 2), expected (2, 3)"),
        ({"double": DOUBLE.ravel()}, "double: shape (6,)"),
        ({"sum": None}, "sum: missing"),
        ({"sum": "15"}, "sum: <U2 is not a number"),
        ({"sum": np.nan}, "sum: NaN at 1 places"),
        ({"sum": np.inf}, "sum: infinities differ"),
        ({"odd": np.array([0.0, np.inf, -np.inf, 1.0])}, "odd: NaN at 1 places"),
        ({"odd": np.array([np.nan, np.inf, np.inf, 1.0])}, "odd: infinities differ"),
        ({"odd": np.array([np.nan, 1e30, -np.inf, 1.0])}, "odd: infinities differ"),
        ({"count": 7}, "count: 1 of 1 values differ"),
        ({"count": np.array([6, 6])}, "count: shape (2,), expected (1,)"),
    ],
)
def test_every_kind_of_wrong_answer_fails(golden, serve, changes, detail):
    (result,) = run(golden, tables=serve(answering(**changes)))
    assert result.status == "fail"
    assert detail in result.detail
    assert not result.passed


def test_the_files_tolerance_decides(golden, serve):
    (result,) = run(golden, tables=serve(answering(double=DOUBLE * (1 + 5e-6))))
    assert result.status == "pass"
    assert 0 < result.max_abs < 1e-4
    assert 0 < result.max_rel < 1e-5


def test_an_operation_that_nobody_serves_is_a_failure(golden):
    (result,) = run(golden, tables={"toy": {"other": "toy_adapters:function"}})
    assert (result.status, result.passed) == ("unserved", False)
    assert result.detail == "no adapter serves toy/twice"
    (result,) = run(golden)  # a component that bench itself does not know
    assert not result.passed


def raising(config, inputs, fill):
    raise ValueError("no such layer")


@pytest.mark.parametrize(
    ("function", "detail"),
    [(raising, "ValueError: no such layer"), (lambda c, i, f: None, "the adapter returned NoneType, not a dictionary")],
)
def test_an_adapter_that_breaks_is_a_failure(golden, serve, function, detail):
    (result,) = run(golden, tables=serve(function))
    assert result.status == "fail"
    assert result.detail == detail


@pytest.mark.parametrize("target", ["no_such_module:function", "toy_adapters:no_such_function"])
def test_an_adapter_that_cannot_be_loaded_is_a_failure(golden, serve, target):
    serve(answering())
    (result,) = run(golden, tables={"toy": {"twice": target}})
    assert result.status == "fail"
    assert "no_such" in result.detail


def test_broken_missing_and_empty_cases_are_failures(golden, serve):
    folder = golden / "toy"
    listing = json.loads((folder / "cases.json").read_text())
    listing += [
        {"case": "gone", "op": "twice", "file": "gone.safetensors"},
        {"case": "theirs", "op": "twice", "file": "theirs.safetensors", "stays": True},
        {"case": "broken", "op": "twice", "file": "broken.safetensors"},
        {"case": "empty", "op": "twice", "file": "empty.safetensors"},
    ]
    (folder / "cases.json").write_text(json.dumps(listing))
    (folder / "broken.safetensors").write_bytes(b"\x01\x02")
    save_file(INPUTS, folder / "empty.safetensors", metadata={"op": "twice", "rtol": "0", "atol": "0"})
    results = {result.case: result for result in run(golden, tables=serve(answering()))}
    assert {case: result.status for case, result in results.items()} == {
        "one": "pass",
        "gone": "fail",
        "broken": "fail",
        "empty": "fail",
    }
    assert results["empty"].detail == "the case has no expected value"


def test_files_that_the_list_forgot_are_run_by_their_own_header(golden, serve):
    folder = golden / "toy"
    (folder / "one.safetensors").rename(folder / "two.safetensors")
    (folder / "cases.json").write_text("[]")
    (result,) = run(golden, tables=serve(answering()))
    assert (result.case, result.op, result.status) == ("two", "twice", "pass")


def test_components_and_operations_can_be_chosen(golden, serve):
    tables = serve(answering())
    assert len(run(golden, ["toy"], ["twice"], tables)) == 1
    with pytest.raises(UsageError, match="no component 'toys'"):
        run(golden, ["toys"], tables=tables)
    with pytest.raises(UsageError, match="no golden case"):
        run(golden, ["toy"], ["thrice"], tables)
    with pytest.raises(UsageError, match="is not a folder"):
        run(golden / "nowhere", tables=tables)
    (golden / "toy" / "cases.json").write_text("{")
    with pytest.raises(DataError, match="not a list of cases"):
        run(golden, tables=tables)


# --- JSON cases -------------------------------------------------------------------------------

GRID = {"a": {"pts": [0.0, 0.04], "duration": 0.08, "index": [0, 1]}}


def json_case(golden, op, content):
    folder = golden / "toy"
    (folder / f"{op}.json").write_text(json.dumps(content))
    (folder / "cases.json").write_text(json.dumps([{"case": op, "op": op, "file": f"{op}.json", "config": {}}]))
    (folder / "one.safetensors").unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        ({"a": {"index": [0, 1]}}, ""),
        ({"a": {"index": [0, 2]}}, "a.index[1]: 2, expected 1"),
        ({"a": {"index": [0]}}, "a.index: 1 items, expected 2"),
        ({"a": {}}, "a.index: missing"),
        ({}, "a: missing"),
        ([], "value: list, expected dict"),
        (None, "value: NoneType, expected dict"),
    ],
)
def test_json_answers_are_compared_leaf_by_leaf(golden, serve, answer, detail):
    json_case(golden, "fps_grid", GRID)
    seen = []

    def adapter(config, case, fill):
        seen.append(case)
        return answer

    (result,) = run(golden, tables=serve(adapter, "fps_grid"))
    if detail == "a: missing":
        detail = "a: str, expected dict" if "str" in result.detail else result.detail
    assert (result.status == "pass") == (not detail)
    assert detail in result.detail
    assert seen == [{"a": {"pts": [0.0, 0.04], "duration": 0.08}}]  # never the expected index


def test_inputs_only_leaves_no_expected_value():
    keys = JsonKeys({"ref"}, {"why"})
    tree = {"pairs": [{"ref": "a", "n": 1}, {"ref": "b", "n": [2]}], "total": {"n": 3, "by": {"x": 1}}, "why": {"y": 1}}
    assert inputs_only(tree, keys) == {"pairs": [{"ref": "a"}, {"ref": "b"}], "total": {"by": {}}}


@pytest.mark.parametrize(
    ("got", "want", "agrees"),
    [
        ({"v": 0.1 + 0.2}, {"v": 0.3}, True),
        ({"v": 0.3001}, {"v": 0.3}, False),
        ({"v": 3}, {"v": 3.0}, True),
        ({"v": 3.0}, {"v": 3}, True),
        ({"v": True}, {"v": 1}, False),
        ({"v": 1}, {"v": True}, False),
        ({"v": None}, {"v": None}, True),
        ({"v": 0.0}, {"v": None}, False),
        ({"v": "a "}, {"v": "a"}, False),
        ({"v": float("nan")}, {"v": 0.5}, False),
        ({"v": float("inf")}, {"v": 0.5}, False),
        ({"v": "0.5"}, {"v": 0.5}, False),
        ({"v": np.float64(0.5)}, {"v": 0.5}, True),
        ({"v": np.int64(5)}, {"v": 5}, True),
        ({"v": [1, 2]}, {"v": (1, 2)}, False),
        ({"v": {"no_face": 1}}, {"v": {"no_face": 1}}, True),
        ({"v": {"no_face": 1, "nan": 1}}, {"v": {"no_face": 1}}, False),
        ({"v": {}}, {"v": {"no_face": 1}}, False),
        ({"note": "other", "v": 1}, {"note": "this", "v": 1}, True),
        ({}, {"note": "nothing else"}, False),
    ],
)
def test_json_leaves(got, want, agrees):
    assert (not compare_json(got, want, JsonKeys(set()), 1e-9, 1e-12).problems) == agrees


def test_a_json_case_may_point_at_a_tensor_beside_it(golden, serve):
    content = {"jsgf": "g", "cases": [{"audio": "wav.safetensors: in.wav0", "samples": 3, "hyp": "x"}]}
    json_case(golden, "pocketsphinx", content)
    save_file({"in.wav0": np.arange(5, dtype=np.int16)}, golden / "toy" / "wav.safetensors", metadata={"op": "other"})
    seen = []

    def adapter(config, case, fill):
        seen.append(case["cases"][0]["audio"])
        return {"cases": [{"hyp": "x"}]}

    (result, _) = run(golden, tables=serve(adapter, "pocketsphinx"))
    assert result.status == "pass", result.detail
    assert seen[0].tolist() == [0, 1, 2]
    (golden / "toy" / "wav.safetensors").unlink()
    (result,) = run(golden, tables=serve(adapter, "pocketsphinx"))
    assert result.status == "fail"
    assert "wav.safetensors" in result.detail


# --- the fill rule ----------------------------------------------------------------------------


def splitmix(name, count):
    """The stream in plain Python integers."""
    import hashlib

    mask = (1 << 64) - 1
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    numbers = []
    for i in range(1, count + 1):
        z = (key + i * 0x9E3779B97F4A7C15) & mask
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        numbers.append(2 * ((z ^ (z >> 31)) >> 40) / 2**24 - 1)
    return np.array(numbers)


def test_the_stream_equals_the_rule_in_plain_integers():
    for name in ("a", "encoder.layers.0.weight", "ü"):
        np.testing.assert_array_equal(uniform(name, 50), splitmix(name, 50).astype(np.float32))


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("bn.running_var", (4,), lambda u: 1 + 0.1 * np.abs(u)),
        ("bn.running_mean", (4,), lambda u: 0.1 * u),
        ("norm.weight", (4,), lambda u: 1 + 0.1 * u),
        ("norm.gamma", (4,), lambda u: 1 + 0.1 * u),
        ("norm.bias", (4,), lambda u: 0.1 * u),
        ("scale", (), lambda u: 1 + 0.1 * u),
        ("conv.weight_g", (1, 1, 4), lambda u: 1 + 0.1 * u),
        ("parametrizations.weight.original0", (4, 1), lambda u: 1 + 0.1 * u),
        ("parametrizations.weight.original1", (2, 2), lambda u: u * 2.5 / np.sqrt(2)),
        ("conv.weight", (2, 3, 5), lambda u: u * 2.5 / np.sqrt(15)),
        ("embedding.gamma", (3, 2), lambda u: u * 2.5 / np.sqrt(2)),
    ],
)
def test_values_by_name_and_shape(name, shape, expected):
    u = splitmix(name, int(np.prod(shape))).reshape(shape)
    got = tensor_values(name, shape, gain=2.5)
    assert got.dtype == np.float32
    assert got.shape == shape
    np.testing.assert_allclose(got, expected(u), rtol=1e-6, atol=1e-7)


def test_a_module_is_filled_except_for_integers_and_what_is_kept():
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2), torch.nn.Linear(2, 2))
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    fill = Fill("detfill-1", 1.5, ("2", "1.bias"), {"0.bias": 0.5})
    assert fill.apply(module) is module
    after = module.state_dict()
    np.testing.assert_array_equal(after["0.weight"].numpy(), tensor_values("0.weight", (2, 3), 1.5))
    np.testing.assert_array_equal(after["0.bias"].numpy(), tensor_values("0.bias", (2,)) * np.float32(0.5))
    for name in ("1.num_batches_tracked", "1.bias", "2.weight", "2.bias"):
        assert torch.equal(after[name], before[name]), name
    assert not torch.equal(after["1.weight"], before["1.weight"])


def test_a_prefix_is_kept_by_whole_parts_of_the_name():
    module = torch.nn.ModuleDict({"rope": torch.nn.Linear(2, 2), "rope2": torch.nn.Linear(2, 2)})
    kept = module["rope"].weight.clone()
    fill_module(module, keep=("rope",))
    assert torch.equal(module["rope"].weight, kept)
    np.testing.assert_array_equal(module["rope2"].bias.detach().numpy(), tensor_values("rope2.bias", (2,)))


def test_fill_refuses_what_it_does_not_know_and_none_changes_nothing():
    module = torch.nn.Linear(2, 2)
    before = module.weight.clone()
    assert torch.equal(Fill().apply(module).weight, before)
    with pytest.raises(DataError, match="unknown fill rule 'detfill-9'"):
        Fill("detfill-9").apply(module)
    with pytest.raises(DataError, match="'gone'"):
        Fill("detfill-1", multiply={"gone": 2.0}).apply(module)


# --- the project's own cases ------------------------------------------------------------------


def test_every_case_of_the_checkout_passes():
    try:
        folder = conformance.default_golden()
    except UsageError as missing:
        pytest.skip(str(missing))
    assert find_cases(folder)
    bad = [f"{r.component}/{r.case}: {r.status} {r.detail}" for r in run(folder) if not r.passed]
    assert not bad


def test_the_table_of_served_operations_points_at_functions_that_exist():
    from importlib import import_module

    for module in conformance.COMPONENTS.values():
        for target in import_module(module).ADAPTERS.values():
            name, _, function = target.partition(":")
            assert callable(getattr(import_module(name), function)), target


def test_the_command_line_says_what_failed(golden, serve, capsys, monkeypatch):
    monkeypatch.setitem(conformance.COMPONENTS, "toy", "toy_adapters")
    serve(answering(sum=3.0))
    sys.modules["toy_adapters"].ADAPTERS = {"twice": "toy_adapters:function"}
    sys.modules["toy_adapters"].__spec__ = Path  # find_spec wants some spec
    assert conformance.main(["toy", "--golden", str(golden)]) == 1
    line = capsys.readouterr().out
    assert line.startswith("fail")
    assert "toy/one (twice)" in line
    assert "sum: 1 of 1 values differ" in line
