"""The plain ways that ``speed_talker`` measures against make the system's numbers, and what runs on CUDA alone runs."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent / "reference_way"))

import talker_networks
from lia_x import PlainRenderer
from talker import Asked, PlainTalker

from bench.detfill import fill_module
from bench.systems.talker import lia_ops, tiny
from bench.systems.talker.generate import Generator
from bench.systems.talker.jobs import Planner, Reference, Settings
from bench.systems.talker.lia import Generator as LiaGenerator
from bench.systems.talker.lia_sizes import LiaSizes
from bench.systems.talker.speech_llm import SpeechLLM

BACKBONE = dataclasses.replace(tiny.LLM.backbone, num_hidden_layers=2)
SMALL = dataclasses.replace(
    tiny.LLM, backbone=BACKBONE, dit=dataclasses.replace(tiny.LLM.dit, n_layer=2), speaker_dim=6
)


@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize(("task", "cfg"), [("t2av", 1.0), ("t2av", 2.0), ("a2v", 2.0)])
@torch.no_grad()
def test_the_plain_loop_makes_what_a_slot_of_the_batch_does(task: str, cfg: float, passes: int) -> None:
    pytest.importorskip("transformers", reason="the plain loop runs transformers' Qwen3")
    model = fill_module(SpeechLLM(SMALL), 1.0).eval()
    rule = Settings(cfg=cfg, prefix_seconds=0.0, task_token="prepend", round_motion=False, max_patches=6, stop_k=99)
    draw = torch.Generator().manual_seed(3)
    ids, speaker, first = torch.arange(1, 9), torch.randn(6, generator=draw), torch.randn(16, generator=draw)
    speech = torch.randn(22, 32, generator=draw) if task == "a2v" else torch.zeros(4, 32)
    reference = Reference(speech, torch.zeros(4 if task == "t2av" else 0, 16), speaker, first)
    planner = Planner(SMALL, rule)
    jobs = [planner.plan(task, ids, reference, torch.Generator().manual_seed(seed), seed) for seed in (5, 6)]  # type: ignore[arg-type]
    made = next(one for one in Generator(model, rule, slots=2).run(jobs) if one.job.key == 5)
    asked = Asked(ids, speaker, first, 6, 5, speech if task == "a2v" else None)
    said, moved = PlainTalker(model, rule, passes).generate(asked)
    torch.testing.assert_close(moved, made.motion, rtol=0, atol=1e-4)
    if made.speech is not None:
        torch.testing.assert_close(said, made.speech, rtol=0, atol=1e-4)


@torch.no_grad()
def test_the_plain_renderer_draws_what_the_folded_one_draws() -> None:
    network = LiaGenerator(LiaSizes(size=16, widths=(8, 8), style_dim=6, motion_dim=3, blocks=2, groups=4))
    fill_module(network, 3.0, tuple(name for name in network.state_dict() if name.endswith("kernel")))
    picture = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    codes = torch.randn(3, 3, generator=torch.Generator().manual_seed(1))
    plain = PlainRenderer(network)
    z, maps, alpha = plain.identity(picture)
    frames = torch.stack([torch.from_numpy(one) for one in plain.frames(z, maps, codes)])
    folded = lia_ops.folded(network)
    torch.testing.assert_close(folded.get_alpha(picture), alpha, rtol=1e-4, atol=1e-5)
    z, maps = folded.enc.enc_2r(picture)
    made = ((folded.move(z, maps, codes).clamp(-1, 1) + 1) / 2 * 255).to(torch.uint8).permute(0, 2, 3, 1)
    assert len(made.unique()) > 20
    assert int((frames.int() - made.int()).abs().max()) <= 1


def test_the_loop_for_cuda_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(talker_networks, "FULL", SMALL)
    with torch.inference_mode():
        call, _, calls, _ = talker_networks._whole(False, 2)
        call()
    assert calls * 32 == talker_networks.PATCHES
