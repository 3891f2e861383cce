"""No parameter of a protocol changes without a new id; the published list and ours agree."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from record_recipes import declared, main, problems, recorded

from bench import protocols, registry
from bench.api import Aggregation, Protocol
from bench.metrics.absent import ABSENT
from bench.metrics.secs import Secs

PUBLISHED = Path(__file__).parents[2] / ".." / "shared" / "specs" / "protocols.json"


def test_no_recipe_has_changed_under_its_id() -> None:
    assert not problems(declared(), recorded()), "\n" + "\n".join(problems(declared(), recorded()))


def test_what_decides_a_number_changes_the_hash() -> None:
    (secs,) = Secs.protocols
    (value,) = secs.values
    deeper = {**secs.parameters, "vad": {**secs.parameters["vad"], "mode": 2}}
    changes = {
        "parameter": replace(secs, parameters=deeper),
        "id": replace(secs, id="secs/resemblyzer@2"),
        "judges": replace(secs, judges=frozenset({"audio", "video"})),
        "either": replace(secs, judges_either=True),
        "needs": replace(secs, needs=frozenset({"audio"})),
        "weights": replace(secs, weights=()),
        "hash of weights": replace(secs, weights=(replace(secs.weights[0], sha256="0" * 64),)),
        "failures": replace(secs, failures=()),
        "unit": replace(secs, values=(replace(value, unit="%"),)),
        "range": replace(secs, values=(replace(value, low=-1.0),)),
        "direction": replace(secs, values=(replace(value, direction="lower"),)),
        "aggregation": replace(secs, values=(replace(value, aggregation=Aggregation("ratio", "a", "b")),)),
    }
    hashes = {name: protocols.recipe_sha256(changed) for name, changed in changes.items()}
    hashes["unchanged"] = protocols.recipe_sha256(secs)
    assert len(set(hashes.values())) == len(hashes)


def test_what_decides_no_number_does_not() -> None:
    (secs,) = Secs.protocols
    shown = replace(secs.values[0], label="S", digits=5, scale=1.0, headline=False)
    other = replace(
        secs,
        values=(shown,),
        note="n",
        used_by=(),
        cost_hint_s=9.0,
        default=False,
        source="x",
        parameters=dict(reversed(secs.parameters.items())),
    )
    assert protocols.recipe_sha256(other) == protocols.recipe_sha256(secs)


def test_a_parameter_that_has_no_canonical_form_is_refused() -> None:
    (secs,) = Secs.protocols
    with pytest.raises(TypeError, match="cannot be a parameter"):
        protocols.recipe_sha256(replace(secs, parameters={"x": object()}))
    with pytest.raises(ValueError, match="not JSON compliant"):
        protocols.recipe_sha256(replace(secs, parameters={"x": float("nan")}))


def test_recording_adds_and_never_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import record_recipes

    file = tmp_path / "recipes.json"
    monkeypatch.setattr(record_recipes, "RECORD", file)
    now = {"a/x@1": "1", "a/y@1": "2"}
    monkeypatch.setattr(record_recipes, "declared", lambda: now)
    assert main([]) == 0 and json.loads(file.read_text()) == now
    now["a/x@1"] = "9"
    assert main([]) == 1 and json.loads(file.read_text())["a/x@1"] == "1"
    assert [line.split()[0] for line in problems(now, recorded())] == ["a/x@1"]
    assert main(["--changed", "a/x@1"]) == 0 and not problems(now, recorded())
    del now["a/y@1"]
    assert "nobody declares it" in problems(now, recorded())[0]


def published() -> dict[str, dict[str, Any]]:
    if not PUBLISHED.is_file():
        pytest.skip("../shared/specs/protocols.json is not here")
    found: dict[str, dict[str, Any]] = json.loads(PUBLISHED.read_text(encoding="utf-8"))["protocols"]
    return found


def test_every_published_id_is_served_or_absent_with_a_reason() -> None:
    wanted = published()
    known = {*declared(), *(entry.id for entry in ABSENT)}
    lost = [pid for pid in wanted if pid not in known]
    assert not lost, f"neither declared by a registered metric nor in metrics/absent.py: {', '.join(lost)}"
    absent = {entry.id: entry for entry in ABSENT}
    for pid, entry in absent.items():
        labels = wanted[pid]["metric"]
        assert entry.labels == ((labels,) if isinstance(labels, str) else tuple(labels)), pid
        assert entry.status == wanted[pid]["status"], pid
        assert " ".join(entry.printed_in).count("Tab") >= len(wanted[pid].get("used_by", ())), pid


def test_absent_protocols_have_reasons_and_are_served_by_nobody() -> None:
    ids = [entry.id for entry in ABSENT]
    assert len(set(ids)) == len(ids)
    assert not set(ids) & set(declared())
    ours = set(declared())
    for entry in ABSENT:
        assert entry.id.endswith("@0") and len(entry.reason) > 20 and entry.remedy
        named = {word.strip(";,:.") for word in entry.remedy.split() if "@" in word}
        assert named <= ours, f"{entry.id}: its remedy names {named - ours}, which nobody serves"


def ours_by_id() -> dict[str, Protocol]:
    found = {}
    for name in registry.names("metrics"):
        metric = registry.get("metrics", name)
        found |= {protocol.id: protocol for protocol in metric.protocols}
    return found


def differing(ours: Any, theirs: Any, where: str) -> list[str]:
    """Lines for every key of ``theirs`` that ours lacks or has otherwise."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        return [
            line
            for key, value in theirs.items()
            for line in differing(ours.get(key, "absent"), value, f"{where}.{key}")
        ]
    return [] if ours == theirs else [f"{where}: {ours!r}, published {theirs!r}"]


def resolved(wanted: dict[str, dict[str, Any]], pid: str) -> dict[str, Any]:
    """Published parameters, with those of the protocol that they refer to."""
    own = dict(wanted[pid].get("parameters", {}))
    other = own.pop("same_as", None)
    return {**(resolved(wanted, other) if other else {}), **own}


def compare(protocol: Protocol, told: dict[str, Any], parameters: dict[str, Any]) -> list[str]:
    labels = [told["metric"]] if isinstance(told["metric"], str) else told["metric"]
    directions = told["direction"] if isinstance(told["direction"], dict) else {labels[0]: told["direction"]}
    values = {value.label: value for value in protocol.values}
    lines = differing(protocol.status, told["status"], "status")
    for label in labels:
        if label not in values:
            lines.append(f"no value is labelled {label}: {', '.join(values)}")
            continue
        lines += differing(values[label].direction, directions[label], f"{label}.direction")
    lines += differing(protocol.values[0].unit, told["unit"], "unit")
    plain = json.loads(json.dumps(protocol.parameters))
    if "same_as" in plain:  # a declaration may refer as the list does
        parameters = told["parameters"]
    lines += differing(plain, parameters, "parameters")
    ours = {Path(weight.name).name: weight.sha256 for weight in protocol.weights}
    for weight in told.get("weights", []):
        lines += differing(
            ours.get(Path(weight["file"]).name, "absent"), weight.get("sha256"), f"weights {weight['file']}"
        )
    return lines


def test_declarations_agree_with_the_published_list() -> None:
    wanted = published()
    lines = [
        f"{pid}: {line}"
        for pid, protocol in ours_by_id().items()
        if pid in wanted
        for line in compare(protocol, wanted[pid], resolved(wanted, pid))
    ]
    assert not lines, f"{len(lines)} differences:\n" + "\n".join(lines)
