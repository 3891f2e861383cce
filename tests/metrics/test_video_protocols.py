"""The declarations of the video metrics: against the published list, and their own consistency."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.api import TASKS, Protocol
from bench.metrics.avsync import AvSync
from bench.metrics.csim.dlib_resnet import CsimDlib
from bench.metrics.fd import FdDlib
from bench.metrics.lmd import Lmd
from bench.metrics.psnr import Psnr
from bench.metrics.ssim import Ssim

PUBLISHED = Path(__file__).parents[2] / ".." / "shared" / "specs" / "protocols.json"
METRICS = (AvSync, CsimDlib, FdDlib, Lmd, Psnr, Ssim)
PROTOCOLS = [protocol for metric in METRICS for protocol in metric.protocols]


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda p: p.id)
def test_declaration_equals_the_published_one(protocol: Protocol) -> None:
    if not PUBLISHED.is_file():
        pytest.skip("../shared/specs/protocols.json is not here")
    wanted = json.loads(PUBLISHED.read_text())["protocols"][protocol.id]
    assert json.loads(json.dumps(protocol.parameters)) == wanted["parameters"]
    head = protocol.values[0]
    labels = [wanted["metric"]] if isinstance(wanted["metric"], str) else wanted["metric"]
    assert [value.label for value in protocol.values[: len(labels)]] == labels
    directions = wanted["direction"] if isinstance(wanted["direction"], dict) else {labels[0]: wanted["direction"]}
    assert {v.label: v.direction for v in protocol.values if v.label in directions} == directions
    assert (head.unit, protocol.status) == (wanted["unit"], wanted["status"])
    assert list(protocol.failures) == wanted["failures"]
    assert list(protocol.used_by) == wanted["used_by"]
    assert {w["sha256"] for w in wanted.get("weights", [])} <= {w.sha256 for w in protocol.weights}


def test_every_published_id_of_these_families_that_runs_offline_is_served() -> None:
    if not PUBLISHED.is_file():
        pytest.skip("../shared/specs/protocols.json is not here")
    families = {protocol.family for protocol in PROTOCOLS}
    listed = json.loads(PUBLISHED.read_text())["protocols"]
    wanted = {i for i, p in listed.items() if i.split("/")[0] in families and p["status"].startswith("offline")}
    assert {protocol.id for protocol in PROTOCOLS} == wanted


def test_one_default_per_family() -> None:
    assert {p.id for p in PROTOCOLS if p.default} == {
        *("ssim/skimage-gaussian@1", "psnr/rgb@1", "lmd/mouth20-iod@1"),
        *("csim/dlib-resnet@1", "fd/dlib-resnet@1", "avsync/dlib-mouth-envelope@1"),
    }


def test_tasks() -> None:
    for protocol in PROTOCOLS:
        tasks = {task for task in TASKS if protocol.applies_to(task)}
        assert tasks == ({"vts", "dub", "a2v", "t2av"} if protocol.family == "avsync" else {"a2v", "t2av"}), protocol.id


def test_values_are_consistent() -> None:
    for protocol in PROTOCOLS:
        names = [value.name for value in protocol.values]
        assert len(set(names)) == len(names)
        assert protocol.values[0].headline
        assert protocol.cost_hint_s > 0


def test_declarations_load_nothing_heavy() -> None:
    modules = ", ".join(metric.__module__ for metric in METRICS)
    code = f"import sys, {modules}; print([m for m in ('numpy', 'cv2', 'dlib', 'av', 'scipy') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize("metric", METRICS, ids=lambda m: m.name)
def test_nothing_is_missing_where_the_packages_are(metric: type) -> None:
    assert [metric().missing(protocol.id) for protocol in metric.protocols] == [[] for _ in metric.protocols]
