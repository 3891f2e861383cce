"""Joint training on made-up latents as a script, for `torchrun`.

``talker_joint_run.py FOLDER STEPS [PARALLEL [ACCUMULATE]]``
"""

from __future__ import annotations

import sys
from pathlib import Path

from talker_kit import FakeMakers, joint_clip, joint_request, small

from bench.progress import Progress
from bench.systems.talker.motion_stats import MotionStats
from bench.systems.talker.text import Characters
from bench.systems.talker.training import joint
from bench.systems.talker.training.joint_options import RECIPES, JointOptions
from bench.systems.talker.training.joint_start import started
from bench.train import TrainSettings, train

if __name__ == "__main__":
    folder, steps, *more = Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]
    parallel, count = more[0] if more else "ddp", int(more[1]) if len(more) > 1 else 1
    folder.mkdir(parents=True, exist_ok=True)
    recipe = RECIPES["tiny"] = small()
    request = joint_request(folder, [joint_clip(folder, number) for number in range(12)])
    data = joint.joint_data(request, recipe, FakeMakers(), MotionStats.blank(4), Characters())
    model, start = started(recipe, "tiny", None, 0)
    stage = joint.JointStage(request, JointOptions(accumulate=count), model, data, start)
    train(stage, TrainSettings(steps, folder, parallel=parallel), Progress(quiet=True))
