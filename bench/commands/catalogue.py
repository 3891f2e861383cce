"""What is installed, as rows and as text: ``bench list`` and ``bench info``. No numeric library is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from bench import protocols, registry
from bench.contracts import Dataset, Metric, System
from bench.errors import UsageError, did_you_mean
from bench.specs import tiers_of
from bench.weights import locate, shipped_here, size_of

if TYPE_CHECKING:
    from bench.metrics.absent import Absent
    from bench.records import WeightFile

Row = Mapping[str, Any]
PLUGIN_GROUPS: tuple[registry.Group, ...] = ("systems", "metrics", "datasets")


def listing(group: str, full: bool = False) -> list[Row]:
    """One row per plug-in of a group; one that cannot be imported is shown with the reason.

    Protocols that cannot be computed here come last. ``full``: with what is too long for a screen.
    """
    if group == "protocols":
        known = protocols.catalogue()
        rows = [_protocol_row(entry) for entry in known.entries.values()]
        if full:
            rows = [{**row, "recipe_sha256": _recipe(known, row["protocol"])} for row in rows]
        return [
            *rows,
            *({"protocol": e.id, "values": ", ".join(e.labels), "status": e.status} for e in known.absent.values()),
        ]
    rows = []
    for name in registry.names(cast(registry.Group, group)):
        try:
            plugin = registry.get(cast(registry.Group, group), name)
        except UsageError as error:
            rows.append({"name": name, "summary": f"unavailable: {error.message}"})
            continue
        rows.append({"name": name, **_ROWS[group](plugin)})
    return rows


def _system_row(cls: type[System]) -> Row:
    return {"tasks": ", ".join(cls.tasks), "tier": ", ".join(tiers_of(cls)), "summary": cls.summary}


def _metric_row(cls: type[Metric]) -> Row:
    return {"protocols": ", ".join(protocol.id for protocol in cls.protocols), "summary": cls.summary}


def _dataset_row(cls: type[Dataset]) -> Row:
    return {"splits": ", ".join(cls.splits), "tasks": ", ".join(cls.tasks), "summary": cls.summary}


_ROWS: Mapping[str, Any] = {"systems": _system_row, "metrics": _metric_row, "datasets": _dataset_row}


def _recipe(known: protocols.Catalogue, name: str) -> str:
    return protocols.recipe_sha256(known.entries[name].protocol)


def _protocol_row(entry: protocols.Entry) -> Row:
    values = ", ".join(f"{v.label} {_ARROWS[v.direction]}" for v in entry.protocol.values if v.headline)
    return {
        "protocol": entry.protocol.id,
        "values": values,
        "status": entry.protocol.status,
        "metric": entry.metric,
        "auto": "yes" if entry.protocol.default else "",
    }


_ARROWS = {"higher": "↑", "lower": "↓", "zero": "→0"}


def info(name: str) -> dict[str, Any]:
    """Everything that is declared about a plug-in or protocol.

    Raises:
        UsageError: nothing has that name.
    """
    known = protocols.catalogue()
    if name in known.entries:
        return _protocol_info(known, name)
    if name in known.absent:
        return _absent_info(known.absent[name])
    plugin = name.split(":", 1)[0]
    for group in PLUGIN_GROUPS:
        if plugin in registry.names(group):
            return _plugin_info(group, name, registry.get(group, plugin))
    names = [n for group in PLUGIN_GROUPS for n in registry.names(group)]
    raise UsageError(
        f"nothing is called {name!r}", did_you_mean(name, [*names, *known.entries, *known.absent], "bench list")
    )


def _protocol_info(known: protocols.Catalogue, name: str) -> dict[str, Any]:
    protocol = known.entries[name].protocol
    return {
        "protocol": name,
        "metric": known.entries[name].metric,
        "status": protocol.status,
        "values": [
            {
                "name": value.name,
                "label": value.label,
                "direction": value.direction,
                "unit": value.unit,
                "range": [value.low, value.high],
                "aggregation": value.aggregation.kind,
            }
            for value in protocol.values
        ],
        "judges": sorted(protocol.judges),
        "reads": sorted(protocol.needs),
        "parameters": protocol.parameters,
        "weights": [_weight(weight) for weight in protocol.weights],
        "failures": list(protocol.failures),
        "source": protocol.source,
        "used by": list(protocol.used_by),
        "note": protocol.note,
        "recipe SHA-256": protocols.recipe_sha256(protocol),
        "here": known.missing(name) or "can run",
    }


def _absent_info(absent: Absent) -> dict[str, Any]:
    return {
        "protocol": absent.id,
        "values": ", ".join(absent.labels),
        "status": absent.status,
        "why it has no value here": absent.reason,
        "what to do": absent.remedy,
        "printed in": "; ".join(absent.printed_in),
    }


def _weight(weight: Any) -> dict[str, Any]:
    return {
        "file": weight.name,
        "sha256": weight.sha256,
        "manifest": weight.manifest,
        "licence": weight.licence,
        "source": weight.source,
        "ships in": weight.package,
    }


def _plugin_info(group: str, name: str, plugin: Any) -> dict[str, Any]:
    found: dict[str, Any] = {group[:-1]: name, **_ROWS[group](plugin), "licence": plugin.licence}
    if group == "systems":
        found |= _system_details(plugin)
    if group == "datasets":
        found |= {"notice": plugin.notice, "notes": plugin.notes}
    found["about"] = " ".join((plugin.__doc__ or "").split())
    return found


def _system_details(cls: type[System]) -> dict[str, Any]:
    model = cls.options()
    settings = {}
    for key, field in (model.model_fields if model is not None else {}).items():
        facts = [
            "required" if field.is_required() else f"default {field.default!r}",
            *(str(m) for m in field.metadata if type(m).__module__ == "annotated_types"),
        ]
        settings[key] = f"{field.description or ''} [{'; '.join(facts)}]".strip()
    weights = cls.weights if isinstance(cls.weights, Sequence) else ()
    return {
        "version": cls.version,
        "uses": sorted(cls.uses),
        "settings": settings,
        "stages": list(cls.stages()),
        "weights": [_weight(weight) for weight in weights if not shipped_here(weight)],
        "tier embedded": _embedded(cls, weights),
        "where paper and code differ": dict(cls.differences),
        "source": cls.source,
    }


def _embedded(cls: type[System], weights: Sequence[WeightFile]) -> dict[str, Any]:
    """The shipped checkpoints: what stands in for what, and how each file came about."""
    if "embedded" not in cls.tiers:
        return {}
    shipped = [weight for weight in weights if shipped_here(weight)]
    sizes = [size_of(weight) for weight in shipped]
    return {
        "when": f"without the official files: on demo by itself, on other data with --set {cls.name}.tier=embedded",
        "in place of": dict(cls.stand_ins),
        "size": f"{sum(size or 0 for size in sizes) / 2**20:.1f} MiB in {sum(map(bool, sizes))} files",
        "files": [_shipped(weight) for weight in shipped],
    }


def _shipped(weight: WeightFile) -> dict[str, Any]:
    """One shipped file, with the facts of its header."""
    from bench.embedded import facts

    path = locate(weight)
    told = {} if path is None else facts(path)
    return {
        "file": weight.name,
        "here": "no" if path is None else f"{path.stat().st_size / 2**20:.1f} MiB",
        "licence": weight.licence,
        "trained by": told.get("command", weight.source),
        **{name: told[name] for name in ("data", "clips", "seed", "steps", "torch", "threads") if name in told},
    }


# --------------------------------------------------------------------------- as text


def render(found: Mapping[str, Sequence[Row]]) -> str:
    """One block per group."""
    return "\n\n".join(f"{group}\n{render_table(rows)}" for group, rows in found.items())


def render_table(rows: Sequence[Row]) -> str:
    """Rows of one shape as aligned columns; the last column is not padded."""
    if not rows:
        return ""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    widths = {c: max(len(c), *(len(str(row.get(c, ""))) for row in rows)) for c in columns}
    lines = ["  ".join(c.ljust(widths[c]) for c in columns).rstrip()]
    lines += ["  ".join(str(row.get(c, "")).ljust(widths[c]) for c in columns).rstrip() for row in rows]
    return "\n".join(lines)


def render_info(found: Mapping[str, Any], indent: str = "") -> str:
    """Nested facts as indented ``name: value`` lines; empty ones are left out."""
    lines: list[str] = []
    for key, value in found.items():
        if value in ("", None, [], {}, ()):
            continue
        if isinstance(value, Mapping):
            lines += [f"{indent}{key}:", render_info(value, indent + "  ")]
        elif isinstance(value, list | tuple) and value and isinstance(value[0], Mapping):
            lines.append(f"{indent}{key}:")
            for item in value:
                body = render_info(item, indent + "    ").splitlines()
                lines += [indent + "  - " + body[0].strip(), *body[1:]]
        elif isinstance(value, list | tuple):
            lines.append(f"{indent}{key}: {', '.join(str(v) for v in value)}")
        else:
            lines.append(f"{indent}{key}: {value}")
    return "\n".join(lines)
