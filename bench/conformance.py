"""Golden cases: recorded numbers of the reference implementations, held against ours.

A golden folder has one sub-folder per component, each with ``cases.json`` (the list of cases) and
a file per case. The *operation* of a case is looked up in the component's table of adapters
(:data:`COMPONENTS`), ``op -> "module:function"``, and called as ``function(config, inputs, fill)``.

``.safetensors`` cases
    ``inputs`` maps NAME to every tensor ``in.NAME``. The adapter returns NAME for every ``out.NAME``,
    with equal shape (a scalar will do for one element), within ``atol + rtol * |expected|`` of
    the header. NaN equals NaN alone, an infinity itself alone.
``.json`` cases
    ``inputs`` is the case with its input keys alone (:data:`JSON_KEYS`); containers stay, and a
    text ``FILE.safetensors: TENSOR`` among the inputs becomes that tensor. The adapter
    returns the same structure with the other keys. Floats may differ by rounding
    (:data:`JSON_RTOL`), everything else must be equal.

Outputs that the file does not have are ignored. An operation that nobody serves, a missing
output and an exception are failures like a wrong number: there are no skips. A case that is listed
in ``cases.json`` must have its file, unless it is marked ``stays`` (recordings of others).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from bench.conformance_compare import Comparison, JsonKeys, compare_arrays, compare_json, inputs_only
from bench.detfill import RULE, fill_module
from bench.errors import DataError, UsageError, did_you_mean

if TYPE_CHECKING:
    import torch

    from bench.records import Array

    _Module = TypeVar("_Module", bound=torch.nn.Module)

#: Component -> the module whose ``ADAPTERS`` table serves its operations.
COMPONENTS: dict[str, str] = {
    "hicodit": "bench.systems.hicodit.adapters",
    "hierspeech": "bench.systems.hierspeech.adapters",
    "metrics": "bench.metrics.adapters",
    "talker": "bench.systems.talker.adapters",
    "tfg": "bench.systems.wav2lip.adapters",
}

#: Which keys of a JSON case are inputs, and which are never compared (notes, and splits of equal
#: cost that aligners may choose differently). All others are expected values.
JSON_KEYS: dict[str, JsonKeys] = {
    "text_norm": JsonKeys({"text"}),
    "wer_pairs": JsonKeys({"ref", "hyp"}, {"normalizer", "S", "D", "I", "hits"}),
    "pocketsphinx": JsonKeys({"jsgf", "audio", "samples"}, {"package"}),
    "bootstrap": JsonKeys({"values", "edits", "ref_words", "B"}),
    "set_result": JsonKeys({"clips"}),
    "fps_grid": JsonKeys({"pts", "duration"}),
    "lse_lengths": JsonKeys({"frames", "samples"}),
}
JSON_RTOL, JSON_ATOL = 1e-9, 1e-12

#: By operation and output, the absolute tolerance where a case's header has one for all outputs that its
#: ``what`` widens: whole numbers of a wave whose rounding is amplified by what comes after it.
WHOLE_NUMBERS: dict[str, Mapping[str, float]] = {"pipeline_tts": {"int16_16k": 2.0, "int16_sr": 8.0}}

Status = Literal["pass", "fail", "unserved"]
Tables = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Fill:
    """How a case's network gets its weights; ``rule`` ``none``: it has none to get."""

    rule: str = "none"
    gain: float = 1.0
    keep: tuple[str, ...] = ()
    multiply: Mapping[str, float] = field(default_factory=dict)
    header: Mapping[str, str] = field(default_factory=dict)  # the case's own metadata: texts, its name
    folder: Path | None = None  # where the case lies

    def apply(self, module: _Module) -> _Module:
        """Fill ``module`` in place by the rule, then multiply the named tensors; returns it."""
        if self.rule == "none":
            return module
        if self.rule != RULE:
            raise DataError(f"unknown fill rule {self.rule!r}", f"this version knows {RULE}")
        import torch

        fill_module(module, self.gain, self.keep)
        state = module.state_dict()
        with torch.no_grad():
            for name, factor in self.multiply.items():
                if name not in state:
                    raise DataError(f"multiply_after_fill names {name!r}", "the module has no such tensor")
                state[name].mul_(factor)
        return module


@dataclass(frozen=True, slots=True)
class Case:
    """A recorded case: where it lies and what adapter it wants."""

    component: str
    name: str
    op: str
    path: Path
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What became of a case. ``max_abs`` and ``max_rel`` are the greatest differences met."""

    component: str
    case: str
    op: str
    status: Status
    max_abs: float = 0.0
    max_rel: float = 0.0
    detail: str = ""
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether every expected value was met; an unserved operation has not passed."""
        return self.status == "pass"


def default_golden() -> Path:
    """``tests/golden`` of the checkout. Raises :class:`UsageError` where there is none."""
    folder = Path(__file__).resolve().parents[1] / "tests" / "golden"
    if not folder.is_dir():
        raise UsageError(f"there are no golden cases at {folder}", "give their folder with --golden DIR")
    return folder


def run(
    golden: Path | None = None,
    components: Sequence[str] | None = None,
    ops: Collection[str] | None = None,
    tables: Tables | None = None,
) -> list[CaseResult]:
    """All cases of ``golden``, or of the named components and operations; see :func:`iter_results`."""
    return list(iter_results(golden, components, ops, tables))


def iter_results(
    golden: Path | None = None,
    components: Sequence[str] | None = None,
    ops: Collection[str] | None = None,
    tables: Tables | None = None,
) -> Iterator[CaseResult]:
    """Run case by case. ``tables`` (component -> op -> ``module:function``) replaces the built-in ones.

    Raises :class:`UsageError` for a folder without cases and for unknown components.
    """
    cases = find_cases(golden or default_golden(), components)
    wanted = [case for case in cases if not ops or case.op in ops]
    if not wanted:
        raise UsageError(f"no golden case in {golden} for {', '.join(ops or components or ['any component'])}")
    for case in wanted:
        table = _table(case.component) if tables is None else tables.get(case.component, {})
        yield run_case(case, table.get(case.op))


def find_cases(golden: Path, components: Sequence[str] | None = None) -> list[Case]:
    """The cases of a golden folder, in the order of the components' names and of ``cases.json``."""
    if not golden.is_dir():
        raise UsageError(f"{golden} is not a folder", "--golden wants the folder that holds the components' folders")
    known = sorted(path.parent.name for path in golden.glob("*/cases.json"))
    for name in components or ():
        if name not in known:
            raise UsageError(f"{golden} has no component {name!r}", did_you_mean(name, known))
    return [case for name in components or known for case in _listed(golden / name)]


def _listed(folder: Path) -> Iterator[Case]:
    try:
        entries = json.loads((folder / "cases.json").read_text(encoding="utf-8"))
        listed = {entry["file"]: entry for entry in entries}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder / 'cases.json'} is not a list of cases: {error}") from error
    for file, entry in listed.items():
        path = folder / file
        if path.exists() or not entry.get("stays"):
            yield Case(folder.name, entry["case"], entry["op"], path, entry.get("config") or {})
    for path in sorted(folder.iterdir()):
        if path.suffix in {".safetensors", ".json"} and path.name not in {*listed, "cases.json"}:
            yield Case(folder.name, path.stem, _own_op(path), path)


def _own_op(path: Path) -> str:
    """The operation of a file that ``cases.json`` does not list, from its header; its name for JSON."""
    if path.suffix == ".json":
        return path.stem
    try:
        return _header(path).get("op", path.stem)
    except (OSError, ValueError, KeyError):
        return path.stem


def _table(component: str) -> Mapping[str, str]:
    """The adapters of a component; empty where the component is not served yet."""
    module = COMPONENTS.get(component)
    if module is None or find_spec(module) is None:
        return {}
    table: Mapping[str, str] = import_module(module).ADAPTERS
    return table


def run_case(case: Case, adapter: str | None) -> CaseResult:
    """Run one case through ``module:function``; never raises for what is wrong with case or adapter."""
    if adapter is None:
        detail = f"no adapter serves {case.component}/{case.op}"
        return CaseResult(case.component, case.name, case.op, "unserved", detail=detail)
    began = time.perf_counter()
    try:
        result = _compare(case, adapter)
    except Exception as error:  # noqa: BLE001 - whatever an adapter raises is this case's failure
        result = Comparison(math.nan, math.nan, [f"{type(error).__name__}: {error}"])
    return CaseResult(
        case.component,
        case.name,
        case.op,
        "fail" if result.problems else "pass",
        result.max_abs,
        result.max_rel,
        "; ".join(result.problems),
        time.perf_counter() - began,
    )


def _compare(case: Case, adapter: str) -> Comparison:
    module, _, name = adapter.partition(":")
    function = getattr(import_module(module), name)
    if case.path.suffix == ".json":
        return _compare_json_case(case, function)
    header = _header(case.path)
    tensors = _tensors(case.path)
    config = json.loads(header.get("config", "{}"))
    got = function(
        config, {k[3:]: v for k, v in tensors.items() if k.startswith("in.")}, _fill(header, config, case.path.parent)
    )
    expected = {k[4:]: v for k, v in tensors.items() if k.startswith("out.")}
    wider = WHOLE_NUMBERS.get(case.op, {})
    return compare_arrays(got, expected, float(header["rtol"]), float(header["atol"]), wider)


def _compare_json_case(case: Case, function: Any) -> Comparison:
    keys = JSON_KEYS.get(case.op)
    if keys is None:
        raise DataError(f"which keys of {case.path.name} are inputs is not known", "add the operation to JSON_KEYS")
    content = json.loads(case.path.read_text(encoding="utf-8"))
    inputs = _with_tensors(inputs_only(content, keys), case.path.parent)
    return compare_json(function(dict(case.config), inputs, Fill()), content, keys, JSON_RTOL, JSON_ATOL)


def _with_tensors(node: Any, folder: Path) -> Any:
    """``node`` with each text ``FILE.safetensors: TENSOR`` replaced by the tensor, cut to ``samples``."""
    if isinstance(node, list):
        return [_with_tensors(item, folder) for item in node]
    if isinstance(node, dict):
        made = {key: _with_tensors(value, folder) for key, value in node.items()}
        replaced = [key for key in made if made[key] is not node[key] and not isinstance(node[key], dict | list)]
        for key in replaced:
            made[key] = made[key][: node.get("samples")]
        return made
    file, separator, tensor = node.partition(": ") if isinstance(node, str) else ("", "", "")
    if not separator or not file.endswith(".safetensors") or Path(file).name != file:
        return node
    return _tensors(folder / file)[tensor]


def _fill(header: Mapping[str, str], config: Mapping[str, Any], folder: Path) -> Fill:
    keep = tuple(json.loads(header.get("keep", "[]")))
    gain, multiply = float(header.get("gain", 1.0)), config.get("multiply_after_fill", {})
    return Fill(header.get("fill", "none"), gain, keep, multiply, header, folder)


def _header(path: Path) -> dict[str, str]:
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        return dict(file.metadata() or {})


def _tensors(path: Path) -> dict[str, Array]:
    from safetensors.numpy import load_file

    tensors: dict[str, Array] = load_file(path)
    return tensors


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m bench.conformance [COMPONENT…] [--golden DIR] [--op OP]``: a line per case, exit 1 on failures."""
    import argparse
    import sys

    parser = argparse.ArgumentParser(prog="bench.conformance")
    parser.add_argument("components", nargs="*")
    parser.add_argument("--golden", type=Path)
    parser.add_argument("--op", action="append", dest="ops")
    options = parser.parse_args(argv)
    bad = 0
    for result in iter_results(options.golden, options.components, options.ops):
        bad += not result.passed
        sys.stdout.write(
            f"{result.status:8} {result.component}/{result.case} ({result.op}) max abs {result.max_abs:.3g}"
            f" rel {result.max_rel:.3g} {result.seconds:.2f} s {result.detail}\n"
        )
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
