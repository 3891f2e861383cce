"""The folder that participants get: the page, its data as a script, and media under names that say nothing.

The page is the same for all studies; what differs stands in ``data/study.js``, one call of a function with JSON.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.metrics.study import SCALE

ASSETS = Path(__file__).parent / "assets"
SCRIPTS_AND_STYLES = ("answers.js", "player.js", "study.js", "study.css")
SCHEMA = 1

NAMES = {1.0: "bad", 2.0: "poor", 3.0: "fair", 4.0: "good", 5.0: "excellent"}
#: What is asked, by question and task (``""``: any other task).
ASKED: Mapping[str, Mapping[str, str]] = {
    "naturalness": {
        "": "How natural does the voice sound?",
        "a2v": "How natural does the talking face look?",
        "t2av": "How natural are voice and talking face as a whole?",
    },
    "sync": {"": "How well do voice and lip movements go together in time?"},
    "preference": {"": "Which of the two is better as a whole?"},
}


def public_data(
    kind: str, title: str, task: str, questions: Sequence[str], stimuli: Sequence[str], sheets: Mapping[str, Any]
) -> dict[str, Any]:
    """What the page holds, but for the study's own hash. ``sheets``: by code, trials as places in ``stimuli``."""
    video = task != "tts"
    return {
        "schema": SCHEMA,
        "kind": kind,
        "title": title,
        "instructions": _instructions(kind, video),
        "questions": [_question(name, task) for name in questions],
        "video": video,
        "suffix": ".mp4" if video else ".wav",
        "stimuli": list(stimuli),
        "sheets": dict(sheets),
    }


def _instructions(kind: str, video: bool) -> list[str]:
    what = "short clips of talking people" if video else "short recordings of speech"
    asked = (
        "play each to its end and rate it" if kind == "mos" else "play both versions of each and say which is better"
    )
    return [
        f"You are going to judge {what}: {asked}. There is no right or wrong, but a few are spoilt on purpose: "
        "noise in place of the voice. Judge them as what they are.",
        "Use headphones in a quiet place. Your answers stay on this computer until you send the file at the end.",
    ]


def _question(name: str, task: str) -> dict[str, Any]:
    return {"id": name, "text": ASKED[name].get(task, ASKED[name][""]), "choices": _choices(name)}


def _choices(question: str) -> list[dict[str, Any]]:
    """Values with what people read; a comparison is answered by 1 (first), 2 (second) or 0 (neither)."""
    if question == "preference":
        told = ((1, "First"), (0, "No preference"), (2, "Second"))
        return [{"value": value, "text": str(value), "label": label} for value, label in told]
    return [{"value": value, "text": f"{value:g}", "label": NAMES.get(value, "")} for value in scale_values()]


def scale_values() -> list[float]:
    """The values of an opinion, lowest first."""
    steps = round((SCALE["high"] - SCALE["low"]) / SCALE["step"])
    return [SCALE["low"] + SCALE["step"] * i for i in range(steps + 1)]


def script(data: Mapping[str, Any]) -> str:
    """``data`` as a call that a script file can hold, whatever characters its texts have."""
    text = json.dumps(data, sort_keys=True, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return f"study({text});\n"


def write_page(folder: Path, data: Mapping[str, Any]) -> None:
    """Put the page and its data into ``folder`` (media are written apart)."""
    for name in ("assets", "data", "media"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    shutil.copyfile(ASSETS / "index.html", folder / "index.html")
    for name in SCRIPTS_AND_STYLES:
        shutil.copyfile(ASSETS / name, folder / "assets" / name)
    (folder / "data" / "study.js").write_text(script(data), encoding="utf-8")
