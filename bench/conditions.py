"""Which parts of a condition mean something for a task, and what they default to."""

from __future__ import annotations

from bench.errors import UsageError, did_you_mean
from bench.records import Condition, Task

#: Tasks in which a driving stream of another clip can be given (``--pairing cross``).
PAIRED: frozenset[Task] = frozenset({"a2v", "dub", "t2av"})
#: Tasks that are driven by audio (``--audio tts``).
DRIVEN_BY_AUDIO: frozenset[Task] = frozenset({"a2v"})
REFERENCES = ("none", "same", "other", "external")


def default_reference(task: Task) -> str:
    """``a2v`` redraws the mouth of the clip's own video; the others take voice and face of another clip."""
    return "none" if task == "a2v" else "other"


def condition_for(task: Task, pairing: str, audio: str, reference: str | None) -> Condition:
    """The condition of a run; a part that means nothing for the task is the empty string.

    Raises:
        UsageError: a part was asked for that the task does not have, or an unknown reference.
    """
    if pairing != "matched" and task not in PAIRED:
        raise UsageError(
            f"--pairing {pairing}: task {task} has no driving audio or text to exchange",
            f"leave --pairing out, or choose a task among {', '.join(sorted(PAIRED))}.",
        )
    if audio != "real" and task not in DRIVEN_BY_AUDIO:
        raise UsageError(
            f"--audio {audio}: task {task} is not driven by audio", "leave --audio out, or choose --task a2v."
        )
    chosen = reference or default_reference(task)
    if chosen not in REFERENCES:
        raise UsageError(f"--reference {chosen!r} is unknown", did_you_mean(chosen, REFERENCES))
    return Condition(
        pairing=pairing if task in PAIRED else "",
        audio=audio if task in DRIVEN_BY_AUDIO else "",
        reference=chosen,
    )


def supports(task: Task, pairing: str, audio: str) -> bool:
    """Whether a task that nobody named can take part under these options."""
    return (pairing == "matched" or task in PAIRED) and (audio == "real" or task in DRIVEN_BY_AUDIO)
