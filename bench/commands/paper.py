"""The verbs on a settings file that has ``tables:``: all blocks into one store, then each with its paper's rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bench.commands import options as o

if TYPE_CHECKING:
    from bench.block_work import BlockWork
    from bench.blocks import Tables
    from bench.config import Effective
    from bench.progress import Progress
    from bench.store import Store


def work(effective: Effective, tables: Tables, *, generating: bool, scoring: bool) -> int:
    """Plan, generate, score and show all blocks."""
    from bench.block_work import Blocks, execute
    from bench.commands.verdict import tell, verdict
    from bench.store import Store

    settings = effective.settings
    blocks = Blocks(effective, tables)
    progress = o.progress()
    if settings.dry_run:
        from bench.commands.dry_run import describe_blocks

        typer.echo(describe_blocks(effective, blocks, scoring, progress))
        return 0
    if not generating:
        Store.open(settings.out, write=False).close()
    with Store.open(settings.out, media_root=settings.media_root) as store:
        done, made, scored = execute(effective, blocks, store, progress, generating, scoring)
        tell(progress.say, made, scored, generating, scoring)
        if scoring:
            _show(store, done, effective, tables, progress)
        judged = [(chosen if scoring else None, plans) for chosen, plans in done.judged()]
        return verdict(store, judged, done.work.absent, made.conflicts + scored.conflicts, settings.strict)


def _show(store: Store, done: BlockWork, effective: Effective, tables: Tables, progress: Progress) -> None:
    from bench.commands.tables import save_tables, show_table
    from bench.results.paper_tables import build

    settings = effective.settings
    with progress.stage("tables", len(done.blocks)) as bar:  # intervals of Fréchet distances take a while
        table = build(store, done.blocks, settings.published, bar.advance)
    show_table(table)
    if settings.save is not None:
        name = "_".join([tables.path.stem, *dict.fromkeys(settings.dataset)])
        save_tables(table, [], settings.save, name, _heading(effective, tables.path))


def _heading(effective: Effective, path: Path) -> str:
    """A title, and what the command said besides the file."""
    from bench.results.render_markup import markdown_text

    said = {
        name: entry["value"]
        for name, entry in effective.record().items()
        if not str(entry["from"]).startswith((f"{path}:", "default")) and name not in {"out", "save", "workers"}
    }
    lines = [f"{name.replace('_', '-')} {value}" for name, value in said.items()]
    more = f" Besides the file: {markdown_text('; '.join(lines))}." if lines else ""
    return f"# {markdown_text(path.stem)}\n\nMade by `bench run --config {path.name}`.{more}\n\n"
