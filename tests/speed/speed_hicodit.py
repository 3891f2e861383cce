"""HiCoDiT against the plain loop of 64 steps (:mod:`hicodit_naive`), its growth with length, and its published size.

The plain loop takes one clip and one setting of the conditions at a time, and works out the conditions at each step.
Levers that leave the tokens equal are told apart from fewer steps, which change them: what those cost in quality
says ``results/paper/vts_steps_demo.md``. Each measurement is a process of one thread; times are of tokens alone, the
front and the codec are measured by themselves.
"""

from __future__ import annotations

import sys
from typing import Any

from hicodit_networks import CLIP, PARTS, STEPS, WAYS
from speed_kit import Line, Options, fresh

PART = "hicodit"
SCRIPT = "hicodit_networks.py"
TARGET = 3.0
#: Tokens that may differ between two ways of the same steps: where two codes are alike to the last bits of a float,
#: rounding decides, and what follows in that clip is another draw.
SAME = 0.98


def run(options: Options) -> list[Line]:
    """The lines of this part."""
    lines = _race(options, options.size(8, 3, 1), 1)
    if not options.tiny:
        lines += _race(options, options.size(4, 1, 1), 5)
    lines += _lengths(options.size(32, 16, 2))
    return lines if options.tiny else [*lines, *_full(options)]


def _race(options: Options, clips: int, passes: int) -> list[Line]:
    found = {way: fresh(SCRIPT, "ways", way, clips, passes) for way in WAYS}
    guided = "no guidance" if passes == 1 else "the paper's guidance"
    same = _same(found["plain"]["tokens"], found["equal"]["tokens"])
    if same < SAME:
        raise RuntimeError(f"hicodit, {guided}: {same:.1%} of the tokens are equal, {SAME:.0%} are expected")
    plain = found["plain"]
    told = f"{clips} clips of {CLIP} s, plain loop {plain['cpu']:.1f} s CPU ({plain['wall']:.1f} s wall)"
    lines = []
    for way, what, target in (
        ("equal", f"{STEPS} steps, {guided}: equal tokens", None),
        ("staged", f"12 + 6 steps for {STEPS}, {guided}", TARGET),
    ):
        one = found[way]
        ratio = plain["cpu"] / one["cpu"]
        note = f"{told}; peak {plain['peak_mb']:,.0f} against {one['peak_mb']:,.0f} MB"
        note += f"; {same:.2%} of the tokens equal" if way == "equal" else ""
        met = None if target is None else ratio >= target
        lines.append(
            Line(
                PART,
                what,
                ratio,
                "x less CPU",
                f">= {target:g} x" if target else "",
                met,
                one["wall"],
                one["cpu"],
                note,
            )
        )
    print(f"  hicodit, {guided}: measured", file=sys.stderr, flush=True)
    return lines


def _same(first: list[list[int]], second: list[list[int]]) -> float:
    """Share of equal tokens. Raises ``RuntimeError`` where the shapes differ."""
    if [len(one) for one in first] != [len(one) for one in second] or not first:
        raise RuntimeError("hicodit: other numbers of tokens")
    pairs = [pair for one, other in zip(first, second, strict=True) for pair in zip(one, other, strict=True)]
    return sum(one == other for one, other in pairs) / len(pairs)


def _lengths(longest: int) -> list[Line]:
    """One clip of 2 s, 4 s, … as a whole; the system cuts what is longer than 4 s into windows."""
    lines: list[Line] = []
    seconds, base = 2, 0.0
    while seconds <= longest:
        one = fresh("hicodit_length.py", seconds, "tiny", "tiny")
        base = base or one["cpu"]
        note = f"small sizes, 12 + 6 steps, no windows; {one['cpu'] / base:.2f} times the CPU of 2 s; "
        note += f"{one['mb']:,.0f} MB above the loaded model"
        what = f"tokens of {seconds} s"
        lines.append(Line(PART, what, one["cpu"] / seconds, "s CPU per s made", cpu=one["cpu"], note=note))
        seconds *= 2
    return lines


def _full(options: Options) -> list[Line]:
    """Published sizes, each part in a process of its own."""
    import torch

    names = ("lips", "fast", "codec") if options.quick else tuple(PARTS)
    lines = [_full_line(name, 1, "cpu") for name in names]
    if not torch.cuda.is_available():
        return [*lines, Line(PART, "CUDA: not measured here", 0.0, "", note="torch finds no CUDA device")]
    return [*lines, *[_full_line(name, 8, "cuda") for name in PARTS]]


def _full_line(name: str, seconds: int, device: str) -> Line:
    found: dict[str, Any] = fresh(SCRIPT, "full", name, seconds, device)
    used = found["wall"] if device == "cuda" else found["cpu"]
    unit = "s per s made" if device == "cuda" else "s CPU per s made"
    note = (
        f"{PARTS[name]}; {device} float32, a clip of {seconds} s, {found['parameters'] / 1e6:.1f} M parameters by rule"
    )
    note += f"; peak {found['peak_mb']:,.0f} MB"
    print(f"  hicodit, {name} on {device}: measured", file=sys.stderr, flush=True)
    return Line(
        PART, f"{name}, published size ({device})", used / seconds, unit, "", None, found["wall"], found["cpu"], note
    )
