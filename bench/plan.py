"""From settings to runs: which system on which clips under which condition, and what each clip needs.

A plan is a pure function of settings and data: no output of the store enters a run's id.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bench import pairs
from bench.contracts import Control, System
from bench.errors import UsageError
from bench.records import FPS, Clip, Condition, Failure, Reference, Source, Task, request_seed
from bench.specs import SystemSpec
from bench.stage import Staging, cut, driving_frames
from bench.store_records import RunRecord


@dataclass(frozen=True)
class Item:
    """One clip of a run: what is staged for the system, what the output is scored against.

    ``failure`` stands in place of ``staging`` where the condition leaves the clip without an input.
    ``given_video`` and ``given_audio`` are the streams that the task does not generate.
    """

    clip: Clip
    reference: Reference
    staging: Staging | None
    failure: Failure | None = None
    given_video: Source | None = None
    given_audio: Source | None = None
    audio_key: str = ""  # content hash of the clip that the reference's audio comes from


@dataclass(frozen=True)
class RunPlan:
    """A run and its selected items; ``split`` holds all clips of the split, ``control`` marks a control."""

    record: RunRecord
    spec: SystemSpec
    items: Sequence[Item]
    split: Sequence[Clip]
    control: bool
    notes: Sequence[str] = ()
    request_timeout_s: float = 0.0


@dataclass(frozen=True)
class Inputs:
    """What the condition gives to every clip of a split: partner, reference clip, and synthetic audio."""

    partner: Mapping[str, Clip]
    voice: Mapping[str, Clip | Source | None]
    pairing: str
    tts_audio: Mapping[str, Source] = field(default_factory=dict)
    tts_run: str = ""  # id of the run that made ``tts_audio``
    notes: Sequence[str] = ()


def gather_inputs(split: Sequence[Clip], pairing: str, reference: str, external: Mapping[str, Source] | None) -> Inputs:
    """Pairs and references over the *whole* split, so that no selection changes them."""
    by_id = {clip.id: clip for clip in split}
    partner, name, notes = dict(by_id), pairing, []
    if pairing == "cross":
        found = pairs.derangement(split)
        partner = {video: by_id[audio] for video, audio in found.pairs}
        if found.same_speaker:
            notes.append(f"cross: {found.same_speaker} pairs have the same speaker (no better shift exists)")
    elif pairing not in {"", "matched"}:
        listed = pairs.read_pairs(pairing, list(by_id))
        partner = {video: by_id[audio] for video, audio in listed.pairs}
        name = f"file:{listed.sha256[:12]}"
    return Inputs(partner, _voices(split, reference, external), name, notes=notes)


def _voices(
    split: Sequence[Clip], reference: str, external: Mapping[str, Source] | None
) -> Mapping[str, Clip | Source | None]:
    if reference == "other":
        return pairs.other_references(split)
    if reference == "same":
        return {clip.id: clip for clip in split}
    if reference == "external":
        return dict(external or {})
    return {}


def make_run(
    spec: SystemSpec,
    system: System,
    split: Sequence[Clip],
    selected: Sequence[Clip],
    task: Task,
    condition: Condition,
    inputs: Inputs,
    *,
    dataset_sha256: str,
    seed: int,
    dtype: str,
    weights: Mapping[str, str],
    config: Mapping[str, Any],
    environment: Mapping[str, Any],
) -> RunPlan:
    """The run record (with its id) and one item per selected clip that the pairing names."""
    shared: dict[str, Any] = {
        "system": spec.label,
        "version": system.version,
        "weights": dict(weights),
        "dtype": dtype,
        "dataset": split[0].dataset,
        "dataset_sha256": dataset_sha256,
        "split": split[0].split,
        "task": task,
        "pairing": inputs.pairing if condition.pairing else "",
        "audio": condition.audio,
        "reference": condition.reference,
        "seed": seed,
    }
    hashed = {
        **shared,
        "settings": {k: v for k, v in spec.settings.items() if k not in system.local_settings},
        "fingerprint": system.fingerprint(),
        "tts_run": inputs.tts_run,
    }
    record = RunRecord(
        id=_hash(hashed)[:16],
        **shared,
        tier=system.tier,
        settings=dict(spec.settings),
        config=dict(config),
        environment=dict(environment),
        n_split=len(inputs.partner),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        note="; ".join(filter(None, [*inputs.notes, system.note_for(task)])),
    )
    chosen = [clip for clip in selected if clip.id in inputs.partner]
    if not chosen:
        raise UsageError("the pairing file names none of the selected clips", "check --pairing and --clips.")
    items = [_item(clip, inputs, system, task, condition, seed, record.id) for clip in chosen]
    return RunPlan(record, spec, items, split, isinstance(system, Control), inputs.notes, system.request_timeout_s)


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _item(clip: Clip, inputs: Inputs, system: System, task: Task, condition: Condition, seed: int, run_id: str) -> Item:
    partner = inputs.partner[clip.id]
    audio = inputs.tts_audio.get(clip.id) if condition.audio.startswith("tts") else partner.audio
    reference = _reference(clip, partner, task, condition, inputs.tts_run)
    given_video = clip.video if task in {"vts", "dub"} else None
    given_audio = audio if task == "a2v" else None
    failure = _missing_input(clip, inputs, system, task, audio)
    staging = None if failure else _staging(clip, partner, audio, inputs, system, task, condition, seed, run_id)
    return Item(clip, reference, staging, failure, given_video, given_audio, partner.content_sha256)


def _reference(clip: Clip, partner: Clip, task: Task, condition: Condition, tts_run: str) -> Reference:
    """What an output is scored against. Synthetic driving audio is heard with the output, so it is part of the hash."""
    own = partner.id == clip.id
    synthetic = condition.audio.startswith("tts")
    parts = [clip.content_sha256, *([] if own else [partner.content_sha256]), *([tts_run] if synthetic else [])]
    return Reference(
        clip_id=clip.id,
        sha256=parts[0] if len(parts) == 1 else _hash(parts),
        video=clip.video,
        audio=partner.audio,
        transcript=partner.transcript,
        speaker=clip.identity,
        task=task,
        own_length=task == "a2v" and own and not synthetic,
    )


def _needed(system: System, task: Task) -> set[str]:
    """Which of voice and identity this system takes from the reference in this task."""
    asked = {"voice"} if task != "a2v" else set()
    if task in {"t2av", "a2v"}:
        asked.add("identity")
    return asked & set(system.uses)


def _missing_input(clip: Clip, inputs: Inputs, system: System, task: Task, audio: Source | None) -> Failure | None:
    if task in {"vts", "dub"} and clip.video is None:
        return Failure("missing_reference", "the clip has no video to give")
    if task == "a2v" and audio is None:
        return Failure("missing_reference", "no driving audio for this clip")
    if task in {"dub", "t2av", "tts"} and not (inputs.partner[clip.id].transcript or "").strip():
        return Failure("empty_reference", "no transcript to speak")
    needed = _needed(system, task) if inputs.voice else set()
    lacks_voice = "voice" in needed and _voice_of(clip, inputs, task) is None
    if lacks_voice or ("identity" in needed and inputs.voice.get(clip.id) is None):
        return Failure("missing_reference", "no reference clip of this speaker under this condition")
    return None


def _voice_of(clip: Clip, inputs: Inputs, task: Task) -> Clip | Source | None:
    """Whose voice a system speaks in: in ``t2av`` that of the clip whose text is spoken, so that speech and
    voice are those of its ``tts`` run; a mapping of the user's goes by the clip."""
    own = inputs.voice.get(clip.id)
    return own if task != "t2av" or isinstance(own, Source) else inputs.voice.get(inputs.partner[clip.id].id)


def _staging(
    clip: Clip,
    partner: Clip,
    audio: Source | None,
    inputs: Inputs,
    system: System,
    task: Task,
    condition: Condition,
    seed: int,
    run_id: str,
) -> Staging:
    voice, voice_key, _, _ = _reference_media(_voice_of(clip, inputs, task))
    _, _, face, face_key = _reference_media(inputs.voice.get(clip.id))
    needed = _needed(system, task)
    n_frames = _length(clip, partner, audio, task)
    if task == "a2v" and condition.reference == "none" and clip.video is not None:
        face, face_key = cut(clip.video, clip.n_frames, n_frames), clip.content_sha256
    takes_voice = task != "a2v" and "voice" in needed
    takes_face = task == "a2v" or (task == "t2av" and "identity" in needed)
    return Staging(
        key=_hash([run_id, clip.id])[:16],
        task=task,
        # a text is spoken alike whoever's face speaks it: `tts` of a clip, and `t2av` of the clip paired with it
        seed=request_seed(seed, partner.id if task == "t2av" else clip.id),
        video=clip.video if task in {"vts", "dub"} else None,
        audio=audio if task == "a2v" else None,
        text=partner.transcript if task in {"dub", "t2av", "tts"} else None,
        voice=voice if takes_voice else None,
        voice_key=voice_key if takes_voice else None,
        identity=face if takes_face else None,
        identity_key=face_key if takes_face else None,
        portrait=system.portrait,
        n_frames=n_frames,
    )


def _reference_media(
    found: Clip | Source | None,
) -> tuple[Source | None, str | None, Source | None, str | None]:
    """Voice and face of a reference clip, or of an external file, with their cache keys."""
    if isinstance(found, Source):
        key = _hash([str(found.path), found.path.stat().st_mtime_ns, found.path.stat().st_size])
        return found, key, found, key
    if found is None:
        return None, None, None, None
    return found.audio, found.content_sha256, found.video, found.content_sha256


def _length(clip: Clip, partner: Clip, audio: Source | None, task: Task) -> int | None:
    """Frames of the driving stream: the video's, or the shorter of a pair's two streams."""
    if task in {"vts", "dub"}:
        return clip.n_frames
    if task != "a2v":
        return None
    if audio is partner.audio:
        return clip.n_frames if partner.id == clip.id else driving_frames(clip.n_frames, partner.n_frames / FPS)
    return driving_frames(clip.n_frames, _seconds(audio))


def _seconds(audio: Source | None) -> float:
    if audio is None:
        return 0.0
    from bench import media

    return float(media.probe(audio.path).duration)
