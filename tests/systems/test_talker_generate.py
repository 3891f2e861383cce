"""Generation of talker: recorded cases, a loop without cache to compare with, batches, ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import Tensor

from bench.conformance import Case, run_case
from bench.systems.talker.adapters_llm import OPS
from bench.systems.talker.backbone import BackboneConfig
from bench.systems.talker.generate import Generator, Made
from bench.systems.talker.jobs import Job, Noise, Planner, Reference, Settings, Task
from bench.systems.talker.local_dit import DitConfig
from bench.systems.talker.slots import Slots
from bench.systems.talker.speech_llm import SpeechLLM, SpeechLLMConfig

GOLDEN = Path(__file__).parents[2] / "tests" / "golden" / "talker"
CASES = {
    "t2av": ["t2av_prefix", "t2av_prefix0", "t2av_stop", "t2av_nostop", "t2av_delay", "t2av_inclass"],
    "tts_generate": ["tts_generate"],
    "a2v": ["a2v"],
    "v2a": ["v2a"],
}
SMALL = SpeechLLMConfig(
    backbone=BackboneConfig(32, 48, 2, 4, 2, 16, 64, tie_word_embeddings=False),
    speech_dim=5,
    motion_dim=3,
    speaker_dim=7,
    encoder_layers=1,
    encoder_heads=2,
    dit=DitConfig(32, 32, 2, 2),
)
SETTINGS = Settings(steps=3, cfg=1.5, use_stop=False, prefix_seconds=0.35, task_token="prepend", margin=3)
#: A row in a batch against the same row alone: products of other shapes round differently.
ALIKE = {"rtol": 1e-4, "atol": 1e-4}


def model(config: SpeechLLMConfig = SMALL) -> SpeechLLM:
    torch.manual_seed(0)
    made = SpeechLLM(config)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return made.eval()


@pytest.fixture(scope="module")
def net() -> SpeechLLM:
    return model()


def job(
    number: int, task: Task = "t2av", frames: int = 20, settings: Settings = SETTINGS, config: SpeechLLMConfig = SMALL
) -> Job:
    """A row with a text of ``number`` + 2 tokens and references of about ``frames`` frames."""
    generator = torch.Generator().manual_seed(100 + number)
    speech = torch.randn(frames + 1, config.speech_dim, generator=generator)
    motion = torch.randn(frames, config.motion_dim, generator=generator)
    ids = torch.randint(0, 64, (number + 2,), generator=generator)
    reference = Reference(speech, motion, torch.randn(config.speaker_dim, generator=generator))
    return Planner(config, settings).plan(task, ids, reference, torch.Generator().manual_seed(number), number)


def run(
    net: SpeechLLM, jobs: list[Job], settings: Settings = SETTINGS, slots: int = 1, every: int = 1
) -> dict[int, Made]:
    return {made.job.key: made for made in Generator(net, settings, slots, every).run(jobs)}


def same(one: Made, other: Made) -> None:
    assert one.patches == other.patches
    for mine, theirs in ((one.speech, other.speech), (one.motion, other.motion)):
        assert (mine is None) == (theirs is None)
        if mine is not None and theirs is not None:
            torch.testing.assert_close(mine, theirs, **ALIKE)


class Scripted(torch.nn.Module):
    """A stop predictor that answers by a rule, of states (B, T, D)."""

    def __init__(self, rule: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._rule = rule

    def forward(self, x: Tensor) -> Tensor:
        return self._rule(x)


def always(net: SpeechLLM, monkeypatch: pytest.MonkeyPatch, rule: Callable[[Tensor], Tensor]) -> None:
    monkeypatch.setitem(net._modules, "head_stop", Scripted(rule))


def certain(x: Tensor) -> Tensor:
    return torch.full(x.shape[:2], 9.0)


@pytest.mark.parametrize(("op", "case"), [(op, case) for op, cases in CASES.items() for case in cases])
def test_goldens(op: str, case: str) -> None:
    result = run_case(Case("talker", case, op, GOLDEN / f"{case}.safetensors"), OPS[op])
    assert result.passed, result.detail


@torch.no_grad()
def by_hand(net: SpeechLLM, job: Job) -> tuple[list[Tensor], list[Tensor]]:
    """T2AV without prefix as the paper tells it: the whole sequence again for every patch."""
    config = net.config
    sequence = torch.cat((net.task_embedding.weight[1:2], net.text(job.ids)))
    speech, motion = torch.zeros(1, config.speech_dim, 4), torch.zeros(1, config.motion_dim, 4)
    spoken, moved = [], []
    assert job.noise.speech is not None
    assert job.noise.motion is not None
    for step in range(job.steps):
        state = net.llm.model(sequence[None])[:, -1]
        options = {"steps": 3, "cfg": 1.5, "temperature": 0.3}
        speech = net.speech_cfm.sample(
            state, noise=job.noise.speech[step : step + 1], cond=speech, global_cond=job.speaker[None], **options
        )
        motion = net.motion_cfm.sample(
            state, noise=job.noise.motion[step : step + 1], cond=motion, global_cond=job.first_motion[None], **options
        )
        spoken.append(speech[0].T)
        moved.append(motion[0].T)
        token = net.speech_tokens(speech.transpose(1, 2)) + net.motion_tokens(motion.transpose(1, 2))
        sequence = torch.cat((sequence, token))
    return spoken, moved


def test_the_loop_with_its_cache_makes_what_the_plain_loop_makes(net: SpeechLLM) -> None:
    settings = replace(SETTINGS, prefix_seconds=0.0)
    row = job(3, settings=settings)
    made = run(net, [row], settings)[3]
    spoken, moved = by_hand(net, row)
    assert made.patches == row.steps == 9  # 21 frames are 6 patches, and 3 of margin
    torch.testing.assert_close(made.speech, torch.cat(spoken), **ALIKE)
    torch.testing.assert_close(made.motion, torch.cat(moved), **ALIKE)


@pytest.mark.parametrize("delay", [0, 2])
def test_rows_of_all_tasks_and_lengths_are_in_a_batch_what_they_are_alone(delay: int) -> None:
    config = replace(SMALL, delay=delay, context_patches=1 + delay)
    net = model(config)
    tasks = get_args(Task) * 2
    jobs = [job(i, task, 8 + 7 * (i % 5), config=config) for i, task in enumerate(tasks)]
    alone = {i: run(net, [row])[i] for i, row in enumerate(jobs)}
    for slots in (3, len(jobs) + 1):
        together = run(net, jobs, slots=slots)
        assert set(together) == set(range(len(tasks)))
        for number, made in together.items():
            same(made, alone[number])


@pytest.mark.parametrize("task", get_args(Task))
def test_lengths_follow_what_is_known(net: SpeechLLM, task: Task) -> None:
    row = job(1, task, 20)  # 21 frames of speech, 20 of motion; of 0.35 s 8 frames are whole patches
    made = run(net, [row])[1]
    wanted = {"t2av": 6 - 2 + 3, "tts": 6 - 3 + 3, "a2v": 6 - 2, "v2a": 5 - 2}[task]
    assert row.known_slots == (3 if task == "tts" else 2)  # whose 9 frames begin a third patch
    assert made.patches == wanted
    assert (made.speech is None) == (task == "a2v")
    assert (made.motion is None) == (task in ("tts", "v2a"))
    assert not made.stopped


def test_known_speech_reaches_the_motion_made_to_it_from_the_next_patch_on(net: SpeechLLM) -> None:
    settings = replace(SETTINGS, prefix_seconds=0.0)
    row = job(2, "a2v", settings=settings)
    other = replace(row, speech=torch.cat((row.speech[:8], row.speech[8:] + 1)))
    one, two = (run(net, [one], settings)[2].motion for one in (row, other))
    assert one is not None
    assert two is not None
    assert torch.equal(one[:12], two[:12])  # patch 2 is the first that differs; state 3 is the first to see it
    assert not torch.allclose(one[12:16], two[12:16], atol=1e-4)


class TestEnds:
    SETTINGS = replace(SETTINGS, use_stop=True, stop_k=3, min_patches=4, prefix_seconds=0.0, margin=10)

    def test_a_row_ends_at_the_third_certain_patch_in_a_row_and_not_before_the_first_is_asked(
        self, net: SpeechLLM, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        always(net, monkeypatch, certain)
        made = run(net, [job(0, settings=self.SETTINGS)], self.SETTINGS)[0]
        assert (made.patches, made.stopped) == (6, True)  # asked before patches 4, 5, 6

    def test_certain_patches_have_to_follow_one_another(self, net: SpeechLLM, monkeypatch: pytest.MonkeyPatch) -> None:
        answers = iter([9.0, 9.0, -9.0, 9.0, 9.0, 9.0])
        always(net, monkeypatch, lambda x: torch.full(x.shape[:2], next(answers)))
        assert run(net, [job(0, settings=self.SETTINGS)], self.SETTINGS)[0].patches == 4 + 5

    def test_a_bound_ends_a_row_that_does_not(self, net: SpeechLLM, monkeypatch: pytest.MonkeyPatch) -> None:
        always(net, monkeypatch, lambda x: -certain(x))
        settings = replace(self.SETTINGS, max_patches=5)
        made = run(net, [job(0, settings=settings)], settings)[0]
        assert (made.patches, made.stopped) == (5, False)

    def test_known_durations_ask_nobody(self, net: SpeechLLM, monkeypatch: pytest.MonkeyPatch) -> None:
        always(net, monkeypatch, certain)
        tasks: list[Task] = ["v2a", "a2v", "t2av"]
        jobs = [job(i, task, 40, self.SETTINGS) for i, task in enumerate(tasks)]
        found = run(net, jobs, self.SETTINGS, slots=3)
        assert [found[i].patches for i in range(3)] == [10, 11, 6]

    @pytest.mark.parametrize("every", [1, 3, 7])
    def test_looking_seldom_changes_nothing(self, net: SpeechLLM, monkeypatch: pytest.MonkeyPatch, every: int) -> None:
        always(net, monkeypatch, lambda x: torch.sin(x[:, :, 0] * 40) * 9)
        settings = replace(self.SETTINGS, stop_k=2)
        jobs = [job(i, frames=20 + i, settings=settings) for i in range(4)]
        plain = run(net, jobs, settings)
        assert len({made.patches for made in plain.values()}) > 1
        for number, made in run(net, jobs, settings, slots=3, every=every).items():
            assert made.stopped == plain[number].stopped
            same(made, plain[number])


class TestSlots:
    def test_a_row_that_ends_frees_its_slot_for_the_next(self, net: SpeechLLM, monkeypatch: pytest.MonkeyPatch) -> None:
        rows: list[int] = []
        advance = Slots.advance
        monkeypatch.setattr(Slots, "advance", lambda self, n, *rest: (rows.append(n), advance(self, n, *rest))[1])
        jobs = [replace(job(i), steps=steps) for i, steps in enumerate([6, 2, 2, 2, 1])]
        order = [made.job.key for made in Generator(net, SETTINGS, slots=2).run(jobs)]
        assert rows == [2] * 6 + [1]
        assert order == [1, 2, 3, 0, 4]

    def test_jobs_are_taken_only_when_there_is_room(self, net: SpeechLLM) -> None:
        taken = []

        def lazily() -> object:
            for i in range(4):
                taken.append(i)
                yield replace(job(i), steps=2 + i)

        found = Generator(net, SETTINGS, slots=2).run(lazily())  # type: ignore[arg-type]
        next(found)
        assert taken == [0, 1]
        assert len(list(found)) == 3

    def test_a_row_that_has_nothing_to_make_is_done_at_once(self, net: SpeechLLM) -> None:
        found = run(net, [replace(job(0), steps=0), replace(job(1), steps=2)], slots=2)
        assert [found[0].patches, found[1].patches] == [0, 2]
        assert found[0].speech is not None
        assert found[0].speech.shape == (0, 5)

    def test_no_jobs_make_nothing(self, net: SpeechLLM) -> None:
        assert run(net, []) == {}

    def test_a_long_row_makes_room_and_leaves_the_others_as_they_are(self, net: SpeechLLM) -> None:
        jobs = [job(0, frames=48), job(1, frames=8), job(2, frames=150)]
        together = run(net, jobs, slots=2)
        for row in jobs:
            same(together[row.key], run(net, [row])[row.key])

    def test_what_goes_on_from_a_row_comes_next(self, net: SpeechLLM) -> None:
        def follow(made: Made) -> Job | None:
            if made.job.key >= 10:
                return None
            assert made.speech is not None
            return replace(job(made.job.key + 10), steps=1)

        jobs = [replace(job(i), steps=2) for i in range(2)]
        order = [made.job.key for made in Generator(net, SETTINGS, slots=1).run(jobs, follow)]
        assert order == [0, 10, 1, 11]

    def test_a_generator_can_be_used_again(self, net: SpeechLLM) -> None:
        generator = Generator(net, SETTINGS, slots=2)
        first, second = ([made.speech for made in generator.run([job(0), job(1)])] for _ in range(2))
        for one, two in zip(first, second, strict=True):
            assert one is not None
            assert two is not None
            assert torch.equal(one, two)


class TestPlans:
    def test_noise_is_drawn_patch_by_patch_speech_before_motion(self) -> None:
        drawn = Noise.draw(SMALL, "t2av", 2, torch.Generator().manual_seed(5))
        generator = torch.Generator().manual_seed(5)
        for step in range(2):
            for found, channels in ((drawn.speech, 5), (drawn.motion, 3)):
                assert found is not None
                assert torch.equal(found[step], torch.randn(1, channels, 4, generator=generator)[0])

    @pytest.mark.parametrize(("task", "speech", "motion"), [("tts", 3, None), ("a2v", None, 3), ("v2a", 3, None)])
    def test_only_what_is_made_draws_noise(self, task: Task, speech: int | None, motion: int | None) -> None:
        drawn = Noise.draw(SMALL, task, 3, torch.Generator())
        assert (None if drawn.speech is None else len(drawn.speech)) == speech
        assert (None if drawn.motion is None else len(drawn.motion)) == motion

    def test_motion_of_the_reference_is_rounded_for_conditions_only_where_asked(self) -> None:
        rounded, plain = (job(0, settings=replace(SETTINGS, round_motion=value)) for value in (True, False))
        assert rounded.motion is not None
        assert plain.motion is not None
        assert torch.equal(plain.motion.bfloat16().float(), rounded.motion)
        assert not torch.equal(plain.first_motion, rounded.first_motion)

    def test_the_official_place_of_the_task_embedding_needs_a_prefix(self, net: SpeechLLM) -> None:
        settings = replace(SETTINGS, task_token="add_to_prefix", prefix_seconds=0.0)
        none = replace(settings, task_token="none")
        row = job(0, settings=settings)
        same(run(net, [row], settings)[0], run(net, [row], none)[0])
        row = job(0)  # with a prefix
        first = run(net, [row], replace(settings, prefix_seconds=0.35))[0].speech
        assert first is not None
        assert not torch.allclose(first[:4], run(net, [row], none)[0].speech[:4], atol=1e-3)  # type: ignore[index]
