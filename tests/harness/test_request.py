"""What a system may see: each task's request, and that what the task hides cannot be reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import av
import numpy as np
import pytest

from bench.conditions import condition_for
from bench.contracts import System
from bench.media import decode_audio, decode_video
from bench.plan import RunPlan, gather_inputs, make_run
from bench.records import Clip, Output, Request, Source, Task, request_seed
from bench.specs import SystemSpec
from bench.stage import stage


class Anything(System):
    """Takes part in every task and uses every reference."""

    name = "anything"
    version = "1"
    tasks = ("vts", "dub", "a2v", "t2av", "tts")
    uses = frozenset({"voice", "identity"})

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        return [Output() for _ in requests]


def planned(
    clips: Sequence[Clip], task: Task, pairing: str = "matched", reference: str | None = None, seed: int = 0
) -> RunPlan:
    condition = condition_for(task, pairing, "real", reference)
    return make_run(
        SystemSpec("anything", "anything", {}),
        Anything(),
        clips,
        clips,
        task,
        condition,
        gather_inputs(clips, condition.pairing, condition.reference, None),
        dataset_sha256="d",
        seed=seed,
        dtype="float32",
        weights={},
        config={},
        environment={},
    )


def requested(plan: RunPlan, place: int, folder: Path) -> Request:
    staging = plan.items[place].staging
    assert staging is not None
    return stage(staging, folder / staging.key)


def everything_in(request: Request) -> bytes:
    """All that a request leads to: its fields, names of files, their bytes."""
    found = repr([getattr(request, field.name) for field in fields(request)]).encode()
    assert request.workdir is not None
    for path in sorted(request.workdir.rglob("*")):
        found += path.name.encode() + path.read_bytes()
    return found


def test_a_vts_request_hides_transcript_audio_and_path(clips: list[Clip], tmp_path: Path) -> None:
    plan = planned(clips, "vts")
    request = requested(plan, 0, tmp_path / "work")
    clip = clips[0]
    assert request.text is None and request.audio is None and request.identity is None
    assert request.video is not None and request.video.name == "video.mp4"
    with av.open(str(request.video)) as container:
        assert [stream.type for stream in container.streams] == ["video"]
        assert not {"title", "comment", "artist"} & set(container.metadata)
    reachable = everything_in(request)
    assert clip.video is not None and clip.transcript is not None
    for secret in (clip.id, str(clip.video.path), str(clip.video.path.parent), clip.video.path.stem, clip.transcript):
        assert secret.encode() not in reachable
    assert clip.speaker is not None and clip.speaker.encode() not in reachable
    # the only sound is another clip's
    assert request.voice is not None and clip.audio is not None
    own, voice = decode_audio(clip.audio).samples, decode_audio(Source(request.voice)).samples
    length = min(len(own), len(voice))
    assert abs(np.corrcoef(own[:length], voice[:length])[0, 1]) < 0.5
    # what is shown is intact
    assert np.array_equal(decode_video(Source(request.video)).frames, decode_video(clip.video).frames)


def test_a_request_cannot_be_followed_to_the_source(clips: list[Clip], tmp_path: Path) -> None:
    request = requested(planned(clips, "vts"), 0, tmp_path / "work")
    assert request.workdir is not None
    for path in request.workdir.rglob("*"):
        assert not path.is_symlink() and path.stat().st_nlink == 1
    with pytest.raises(AttributeError):
        request.transcript  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize(
    ("task", "present"),
    [
        ("vts", {"video", "voice"}),
        ("dub", {"video", "voice", "text"}),
        ("a2v", {"audio", "identity"}),
        ("t2av", {"text", "voice", "identity"}),
        ("tts", {"text", "voice"}),
    ],
)
def test_each_task_sets_its_fields_and_no_other(
    task: Task, present: set[str], clips: list[Clip], tmp_path: Path
) -> None:
    request = requested(planned(clips, task), 0, tmp_path / "work")
    names = ("video", "audio", "text", "voice", "identity")
    assert {name for name in names if getattr(request, name) is not None} == present


def test_the_seed_depends_on_run_seed_and_clip_alone(clips: list[Clip], tmp_path: Path) -> None:
    one, two = planned(clips, "vts", seed=1), planned(list(reversed(clips)), "vts", seed=1)
    seeds = {item.clip.id: item.staging.seed for item in one.items if item.staging}
    assert seeds == {item.clip.id: item.staging.seed for item in two.items if item.staging}
    assert seeds["speaker0/clip0"] == request_seed(1, "speaker0/clip0")
    assert len(set(seeds.values())) == len(clips)
    first = requested(one, 0, tmp_path / "work")
    assert first.generator().random() == first.generator().random()
    assert one.record.id != planned(clips, "vts", seed=2).record.id


def test_the_run_id_is_made_of_what_decides_the_result(clips: list[Clip]) -> None:
    base = planned(clips, "a2v").record
    assert planned(clips, "a2v").record.id == base.id
    others = [
        planned(clips, "vts"),
        planned(clips, "a2v", pairing="cross"),
        planned(clips, "a2v", reference="other"),
        planned(clips, "a2v", seed=1),
    ]
    assert len({base.id, *(plan.record.id for plan in others)}) == 5


def test_cross_gives_the_sound_of_another_speaker_and_scores_against_it(clips: list[Clip], tmp_path: Path) -> None:
    plan = planned(clips, "a2v", pairing="cross")
    for item in plan.items:
        partner = next(c for c in clips if c.audio == item.reference.audio)
        assert partner.id != item.clip.id and partner.speaker != item.clip.speaker
        assert item.reference.video == item.clip.video
        assert item.reference.transcript == partner.transcript
        assert not item.reference.own_length
    request = requested(plan, 0, tmp_path / "work")
    assert request.audio is not None and plan.items[0].reference.audio is not None
    assert len(decode_audio(Source(request.audio)).samples) == request.n_frames * 640  # type: ignore[operator]


def test_cross_t2av_shows_the_clip_and_speaks_like_the_tts_run_of_its_partner(clips: list[Clip]) -> None:
    """Words, voice and seed are the partner's, so that the same system says the same in both runs."""
    spoken = {item.clip.id: item.staging for item in planned(clips, "tts", reference="same").items}
    for item in planned(clips, "t2av", pairing="cross", reference="same").items:
        partner = next(c for c in clips if c.audio == item.reference.audio)
        assert item.staging is not None and partner.id != item.clip.id
        alone = spoken[partner.id]
        assert alone is not None
        for name in ("text", "voice", "voice_key", "seed"):
            assert getattr(item.staging, name) == getattr(alone, name), name
        assert item.staging.voice == partner.audio and item.staging.identity == item.clip.video
    own = planned(clips, "t2av", pairing="matched", reference="same").items[0].staging
    first = spoken[clips[0].id]
    assert own is not None and first is not None
    assert (own.text, own.voice, own.seed) == (first.text, first.voice, first.seed)


def test_a_pairing_file_selects_and_is_part_of_the_id(clips: list[Clip], tmp_path: Path) -> None:
    listing = tmp_path / "pairs.tsv"
    listing.write_text("speaker0/clip0\tspeaker1/clip3\nspeaker0/clip1\tspeaker1/clip2\n")
    condition = condition_for("a2v", "file", "real", None)
    inputs = gather_inputs(clips, str(listing), condition.reference, None)
    assert inputs.pairing.startswith("file:")
    assert inputs.partner["speaker0/clip0"].id == "speaker1/clip3"
    assert len(inputs.partner) == 2


def test_a_missing_reference_is_a_failure_and_not_a_missing_row(clips: list[Clip]) -> None:
    lonely = [clips[0], *clips[5:]]
    plan = planned(lonely, "vts")
    item = plan.items[0]
    assert item.staging is None and item.failure is not None and item.failure.kind == "missing_reference"
    assert all(other.staging is not None for other in plan.items[1:])


def test_no_reference_stages_none(clips: list[Clip], tmp_path: Path) -> None:
    request = requested(planned(clips, "tts", reference="none"), 0, tmp_path / "work")
    assert request.voice is None and request.text
