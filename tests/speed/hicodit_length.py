"""One clip sampled in a process of its own: ``hicodit_length.py SECONDS full|tiny PRESET``; weights by rule.

Prints one line of JSON: processor seconds, and by how many MB the process grew above the loaded model.
"""

from __future__ import annotations

import json
import sys

import torch
from hicodit_naive import example_jobs
from speed_kit import peak_mb, timed

from bench.detfill import fill_module
from bench.systems.hicodit.model import HiCoDiT
from bench.systems.hicodit.sampling import Sampler, sample
from bench.systems.hicodit.sizes import FULL, TINY

CODEC_RATE = 50

if __name__ == "__main__":
    seconds, size, preset = sys.argv[1:]
    sizes = {"full": FULL, "tiny": TINY}[size]
    model = fill_module(HiCoDiT(sizes)).eval()
    jobs = example_jobs(sizes, [round(float(seconds) * CODEC_RATE)])
    torch.set_num_threads(1)
    loaded = peak_mb()
    taken = timed(lambda: sample(model, jobs, Sampler.preset(preset)))
    print(json.dumps({"cpu": taken.cpu, "mb": peak_mb() - loaded}))
