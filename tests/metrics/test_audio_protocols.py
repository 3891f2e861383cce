"""The declarations of the audio metrics: against the published list, and their own consistency."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.api import TASKS, Protocol
from bench.metrics.cost import Cost
from bench.metrics.declare import shipped_path
from bench.metrics.dnsmos import Dnsmos
from bench.metrics.duration import Duration
from bench.metrics.secs import Secs
from bench.metrics.wer import Wer

PUBLISHED = Path(__file__).parents[2] / ".." / "shared" / "specs" / "protocols.json"
METRICS = (Cost, Dnsmos, Duration, Secs, Wer)
PROTOCOLS = [protocol for metric in METRICS for protocol in metric.protocols]


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda p: p.id)
def test_declaration_equals_the_published_one(protocol: Protocol) -> None:
    if not PUBLISHED.is_file():
        pytest.skip("../shared/specs/protocols.json is not here")
    wanted = json.loads(PUBLISHED.read_text())["protocols"][protocol.id]
    assert json.loads(json.dumps(protocol.parameters)) == wanted["parameters"]
    head = protocol.values[0]
    assert (head.unit, head.direction) == (wanted["unit"], wanted["direction"])
    assert (head.label, protocol.status) == (wanted["metric"], wanted["status"])
    assert list(protocol.failures) == wanted["failures"]
    assert list(protocol.used_by) == wanted["used_by"]
    assert [w.sha256 for w in protocol.weights] == [w["sha256"] for w in wanted.get("weights", [])]
    kind = wanted["aggregation"].split()[0].split("(")[0]
    assert head.aggregation.kind == {"sum": "ratio", "mean": "mean", "maximum": "corpus"}[kind]


def test_defaults_and_tasks() -> None:
    default = {p.id for p in PROTOCOLS if p.default}
    assert default == {
        *("cer/pocketsphinx-grid@1", "cost/peak-memory@1", "cost/rtf@1", "dnsmos/speechmos@1"),
        *("duration/abs@1", "secs/resemblyzer@1", "wer/pocketsphinx-grid@1"),
    }
    for protocol in PROTOCOLS:
        tasks = {task for task in TASKS if protocol.applies_to(task)}
        everywhere = protocol.family in ("cost", "duration")
        assert tasks == set(TASKS) - (set() if everywhere else {"a2v"}), protocol.id
    assert {p.id for p in PROTOCOLS if not p.gated} == {"cost/peak-memory@1", "cost/rtf@1"}


def test_value_names_are_unique_and_ratios_name_their_parts() -> None:
    for protocol in PROTOCOLS:
        names = [value.name for value in protocol.values]
        assert len(set(names)) == len(names)
        assert sum(value.headline for value in protocol.values) == 1
        for value in protocol.values:
            ratio = value.aggregation.kind == "ratio"
            assert bool(value.aggregation.numerator and value.aggregation.denominator) == ratio


def test_shipped_weights_are_found_with_their_size() -> None:
    for protocol in PROTOCOLS:
        for weight in protocol.weights:
            path = shipped_path(weight)
            if path is not None:
                assert path.stat().st_size == weight.size


def test_what_is_missing_comes_with_its_remedy() -> None:
    code = """
import sys
from importlib.abc import MetaPathFinder
class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"pocketsphinx", "speechmos", "onnxruntime", "webrtcvad"}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
import importlib.util as iu
real = iu.find_spec
def find(name, package=None):
    try:
        return real(name, package)
    except ModuleNotFoundError:
        return None
iu.find_spec = find
from bench.metrics.wer import Wer
from bench.metrics.dnsmos import Dnsmos
from bench.metrics.secs import Secs
print(Wer().missing("wer/pocketsphinx-grid@1"), Dnsmos().missing("dnsmos/speechmos@1"), Secs().missing(""))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for word in ("pocketsphinx", "speechmos", "onnxruntime", "webrtcvad", "pip install 'bench-avgen[demo]'"):
        assert word in done.stdout


def test_declaring_loads_no_numeric_library() -> None:
    modules = " ".join(metric.__module__ for metric in METRICS)
    code = f"import sys, importlib; [importlib.import_module(m) for m in {modules!r}.split()]; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "torch", "librosa", "scipy", "onnxruntime", "whisper"} & set(done.stdout.split())
