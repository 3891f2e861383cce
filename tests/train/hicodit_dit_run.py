"""The stage ``dit`` on made-up records as a script, for `torchrun`: ``hicodit_dit_run.py FOLDER STEPS``."""

from __future__ import annotations

import sys
from pathlib import Path

from hicodit_train_kit import FakeMakers, dit_clip, dit_request, small

from bench.progress import Progress
from bench.systems.hicodit.training import dit
from bench.systems.hicodit.training.options import DitOptions
from bench.train import TrainSettings, train

if __name__ == "__main__":
    folder, steps = Path(sys.argv[1]), int(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    clips, recipe = [dit_clip(number) for number in range(12)], small(eval_every=2)
    request = dit_request(folder, clips, tuple(clips[:3]))
    stage = dit.DitStage(request, DitOptions(), recipe, dit.dit_data(request, recipe, FakeMakers()))  # type: ignore[arg-type]
    train(stage, TrainSettings(steps, folder), Progress(quiet=True))
