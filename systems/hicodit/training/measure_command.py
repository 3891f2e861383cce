"""A table of models on held-out clips of the demo corpus, as CSV and Markdown (see :mod:`.measure`).

    python -m bench.systems.hicodit.training.measure_command --save results/paper/table full=FILE "no hierarchy=FILE"

Files are those that ``bench train hicodit --stage dit`` writes, or ``shipped``. Below the table stand the commands that
have made them, from the files themselves.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import torch

from bench.embedded import facts, without_place
from bench.progress import Progress
from bench.results.tidy import to_csv
from bench.systems.hicodit import parts
from bench.systems.hicodit.codec.mel_rvq import MelRvqCodec
from bench.systems.hicodit.training.clips import Drawn
from bench.systems.hicodit.training.data import Records
from bench.systems.hicodit.training.makers import record_makers
from bench.systems.hicodit.training.measure import Exam, Row, row_of_codec, row_of_model, row_of_speech
from bench.systems.hicodit.training.options import RECIPES
from bench.systems.hicodit.training.records import RECORDS
from bench.systems.hicodit.weight_files import TINY
from bench.weights import here

SHIPPED = "shipped"
#: Columns of the Markdown: title, figure, digits, whether it is a share.
_SHOWN = (
    ("WER ↓", "wer", 1, True),
    ("WER, control", "wer_control", 1, True),
    ("WER, control, by its own text", "wer_followed", 1, True),
    ("right voice ↑", "voice_right", 1, True),
    ("SECS ↑", "secs", 3, False),
    ("log-mel ↓", "log_mel", 3, False),
    ("log-mel, control", "log_mel_control", 3, False),
    ("CE level 1 ↓", "level1", 3, False),
    ("CE level 1, control", "level1_control", 3, False),
    ("CE levels 2, 3, 4 ↓", "level2,level3,level4", 2, False),
    ("parameters", "parameters", 0, False),
)
_NOTES = (
    "WER and right voice in per cent; in brackets 95 % intervals of a bootstrap over clips: they say nothing of seeds.",
    "Models see the video alone; control: the video of another clip of the same voice with another text. Its speech is "
    "scored against the clip's text, and against the text of the clip whose video it is.",
    "WER: wer/pocketsphinx-grid@1 (closed vocabulary; chance is about 81). Right voice: nearer to the speaker's other "
    "clips than to those of any other speaker; SECS: cosine to the former (Resemblyzer).",
    "log-mel: mean difference to the true speech in nats. CE: cross entropy of the true tokens in nats with everything "
    "masked; guessing has 5.545.",
    "The demo corpus has no classes of emotion (all clips count as neutral), so nothing here tells what an expression "
    "stream or dual-scale normalisation gains from them. One seed was trained for each model.",
)


def main(arguments: Sequence[str]) -> None:
    """See the module."""
    given = _parser().parse_args(arguments)
    exam = exam_of(given.split, Progress())
    rows = [row_of_speech("true speech", exam.truth, exam), row_of_codec("codec, true tokens", exam)]
    commands = [_command(given)]
    for model in given.models:
        name, _, file = model.rpartition("=")
        path = None if file == SHIPPED else Path(file)
        rows.append(row_of_model(name or file, parts.joined_of(path, "cpu", small=True).eval(), exam))
        told = facts(here(TINY) if path is None else path)
        commands.append(f"# {name or file}\n{without_place(told.get('command', ''))}")
    heading = f"{given.title} · demo/{given.split}, {len(exam.clips)} clips"
    _write(given.save, heading, rows, commands)


def exam_of(split: str, progress: Progress) -> Exam:
    """The clips of a split of the demo corpus, with the shipped codec; records are those that training keeps."""
    from bench import planning

    makers = record_makers("tiny", "cpu")
    if not isinstance(makers.codec, MelRvqCodec):
        raise TypeError(f"the codec is {makers.codec.name}")
    clips, _ = planning.list_clips(planning.open_dataset("demo", None), split, progress)
    load = partial(RECORDS.of, folder=planning.cache_folder() / "train" / "hicodit", makers=makers)
    records, recipe = Records(clips, load, (0.0, 60.0), progress), RECIPES["tiny"]
    nobody = torch.zeros(recipe.sizes.voice)  # a face is all that models are told of the speaker
    return Exam.of(Drawn(records, lambda _: nobody, recipe, seed=0), makers.codec)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.systems.hicodit.training.measure_command")
    parser.add_argument("models", nargs="+", metavar="NAME=FILE", help=f"weights of the stage dit, or {SHIPPED}")
    parser.add_argument("--split", default="test", help="of the demo corpus")
    parser.add_argument("--title", default="hicodit")
    parser.add_argument("--save", type=Path, required=True, help="where the table goes, without .csv and .md")
    return parser


def _command(given: argparse.Namespace) -> str:
    """The command of a table; where its files lay says nothing."""
    pairs = [model.rpartition("=") for model in given.models]
    models = [f"{name}={file if file == SHIPPED else 'FILE'}" for name, _, file in pairs]
    options = ["--split", given.split, "--title", given.title, "--save", given.save.name]
    return shlex.join(["python", "-m", "bench.systems.hicodit.training.measure_command", *options, *models])


def _write(path: Path, heading: str, rows: Sequence[Row], commands: Sequence[str]) -> None:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    path.with_suffix(".csv").write_text(to_csv(columns, rows), encoding="utf-8")
    head = ["row", *(title for title, *_ in _SHOWN)]
    lines = [
        head,
        ["---", *("---:" for _ in _SHOWN)],
        *([str(row["row"]), *map(partial(_cell, row), _SHOWN)] for row in rows),
    ]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    notes = "\n".join(f"- {note}" for note in _NOTES)
    told = "\n".join(["```", *commands, "```"])
    text = "\n\n".join([f"# {heading}", table, notes, told])
    path.with_suffix(".md").write_text(text + "\n", encoding="utf-8")


def _cell(row: Mapping[str, object], shown: tuple[str, str, int, bool]) -> str:
    """A figure as it is printed; of a share with its interval, where it has one."""
    _, names, digits, share = shown
    values = [row.get(name) for name in names.split(",")]
    low, high = row.get(f"{names}_low"), row.get(f"{names}_high")

    def printed(value: object) -> str:
        return f"{value * (100 if share else 1):,.{digits}f}" if isinstance(value, float) else "–"

    text = ", ".join(map(printed, values)) if any(value is not None for value in values) else "–"
    return f"{text} [{printed(low)}, {printed(high)}]" if low is not None else text


if __name__ == "__main__":
    main(sys.argv[1:])
