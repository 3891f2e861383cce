"""The codes of ``bench data check``: severities, and the conditions on a clip's media.

The table is that of specs/datasets.md section 8; ``manifest`` (a wrong row of a user's own
manifest) is added to it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from bench.datasets.facts import Facts
    from bench.datasets.layout import Rules
    from bench.datasets.manifest import ClipRow

Severity = Literal["error", "warn", "info"]
Finding = tuple[str, str]  # code and detail

SEVERITIES: dict[str, Severity] = {
    "root-layout": "error",
    "list-missing": "error",
    "count": "warn",
    "missing-video": "error",
    "missing-text": "error",
    "orphan": "info",
    "empty": "error",
    "undecodable": "error",
    "truncated": "error",
    "no-audio": "error",
    "no-video": "error",
    "fps": "error",
    "size": "warn",
    "sample-rate": "warn",
    "av-gap": "warn",
    "short": "warn",
    "silent": "warn",
    "frozen": "warn",
    "text-head": "error",
    "text-charset": "warn",
    "text-case": "info",
    "words-mismatch": "warn",
    "words-times": "error",
    "track-length": "warn",
    "duplicate": "warn",
    "name": "error",
    "manifest": "error",
}
_FPS_TOLERANCE = 0.01
_GAP_WARN = (-1.0, 2.0)  # frames of audio minus video
_GAP_ERROR = (-5.0, 5.0)
_SHORT_FRAMES = 12
_SILENT_DBFS = -60.0


def severity(code: str, av_gap: float = 0.0, need_audio: bool = True) -> Severity:
    """How bad a finding is; a great gap between audio and video is an error."""
    if code == "av-gap" and not _GAP_ERROR[0] <= av_gap <= _GAP_ERROR[1]:
        return "error"
    if code == "no-audio" and not need_audio:
        return "info"
    return SEVERITIES[code]


def row_severity(code: str, row: ClipRow, rules: Rules) -> Severity:
    """:func:`severity` of a code that the index has for a clip."""
    return severity(code, row.av_gap_frames, rules.need_audio)


def status_of(severities: Sequence[Severity]) -> str:
    """``bad`` with any error, else ``warn`` with any warning, else ``ok``."""
    if "error" in severities:
        return "bad"
    return "warn" if "warn" in severities else "ok"


def av_gap(facts: Facts) -> float:
    """Audio minus video in frames of the file; 0 where one of them is absent."""
    if not (facts.has_audio and facts.has_video and facts.sample_rate):
        return 0.0
    return facts.n_samples * facts.fps / facts.sample_rate - facts.n_frames


def header_findings(facts: Facts, rules: Rules) -> list[Finding]:
    """What the header alone tells."""
    found: list[Finding] = []
    if facts.code:
        found.append((facts.code, facts.detail))
    if facts.code == "undecodable":
        return found
    if not facts.has_audio:
        found.append(("no-audio", "no audio stream"))
    elif rules.audio and (facts.sample_rate, facts.channels) != rules.audio:
        rate, channels = rules.audio
        given = f"{facts.sample_rate} Hz, {facts.channels} channels"
        found.append(("sample-rate", f"{given}; expected {rate} Hz, {channels}"))
    if not facts.has_video:
        found.append(("no-video", "no video stream"))
        return found
    if rules.fps is not None and abs(facts.fps - rules.fps) > _FPS_TOLERANCE:
        found.append(("fps", f"{facts.fps:.3f} frames per second; expected {rules.fps:g}"))
    if rules.size is not None and (facts.width, facts.height) != rules.size:
        found.append(("size", f"{facts.width}x{facts.height}; expected {rules.size[0]}x{rules.size[1]}"))
    return found


def decoded_findings(facts: Facts) -> list[Finding]:
    """What decoding tells, of a file that is whole."""
    if facts.code:
        return []
    found: list[Finding] = []
    gap = av_gap(facts)
    if not _GAP_WARN[0] <= gap <= _GAP_WARN[1]:
        found.append(("av-gap", f"audio minus video is {gap:+.2f} frames"))
    if facts.has_video and facts.n_frames < _SHORT_FRAMES:
        found.append(("short", f"{facts.n_frames} frames"))
    if facts.has_audio and facts.rms is not None and facts.rms < 10 ** (_SILENT_DBFS / 20):
        level = f"{20 * math.log10(facts.rms):.0f} dBFS" if facts.rms > 0 else "digital silence"
        found.append(("silent", level))
    if facts.frozen:
        found.append(("frozen", "all frames are equal"))
    return found
