"""Single pieces against the straightforward way: SSIM, S3FD, SECS, bootstrap, Fréchet distance, with equal numbers.

Processor time decides, for a machine that others use too; one thread. Demo clips where they have been made.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import naive
import numpy as np
import torch
from speed_kit import Line, Options, race
from speed_media import demo_clips, shots, write_clip

from bench.media import Media
from bench.metrics.frechet import distance
from bench.metrics.lse.s3fd_net import S3FD, channels_last
from bench.metrics.moments import Pool, pool_distance
from bench.metrics.secs import Secs
from bench.metrics.ssim import Ssim
from bench.metrics.ssim_map import Recipe, StructuralSimilarity
from bench.records import Reference
from bench.results.stats import Statistic, interval_of, resample_all

PART = "pieces"


def run(options: Options) -> list[Line]:
    """The lines of this part."""
    torch.set_num_threads(1)
    return [
        *(_ssim(options, side) for side in (160, 224)),
        _s3fd(options),
        *_secs(options),
        *(_bootstrap(options, columns) for columns in (1, 12, 48)),
        *_frechet(options),
    ]


def _line(what: str, works: tuple[Callable[[], Any], Callable[[], Any]], target: float, rounds: int, note: str) -> Line:
    """The race of ``works``: the straightforward way and ours."""
    plain, ours = works
    times = race({"plain": plain, "ours": ours}, rounds)
    ratio = times.ratio("plain", "ours", "cpu")
    told = f"{times.cpu('plain') * 1e3:.3g} ms against {times.cpu('ours') * 1e3:.3g} ms; {note}"
    return Line(PART, what, ratio, "x less CPU", f">= {target:g} x", ratio >= target, cpu=times.cpu("ours"), note=told)


def _agree(what: str, one: Any, other: Any, tolerance: float) -> str:
    """How far numbers differ, relative to the greatest. Raises ``RuntimeError`` beyond the tolerance."""
    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    worst = float(np.abs(one - other).max() / max(np.abs(other).max(), 1e-300))
    if not worst <= tolerance:
        raise RuntimeError(f"{what}: numbers differ by {worst:.2g}")
    return f"differs {worst:.1g}"


def _pictures(n: int, side: int) -> list[tuple[Any, Any]]:
    """Pairs of pictures of a clip: as it is, and a little blurred."""
    import cv2

    frames = shots(1, demo_clips())[0].frames[:n]
    small = [cv2.resize(frame, (side, side), interpolation=cv2.INTER_AREA) for frame in frames]
    return [(frame, cv2.GaussianBlur(frame, (0, 0), 1.2)) for frame in small]


def _ssim(options: Options, side: int) -> Line:
    from skimage.metrics import structural_similarity

    pairs = _pictures(options.size(40, 20, 2), side)
    headline = next(p for p in Ssim.protocols if p.id == "ssim/skimage-gaussian@1")
    measure = StructuralSimilarity(Recipe.from_parameters(headline.parameters))
    form: dict[str, Any] = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}

    def plain() -> list[float]:
        return [structural_similarity(a, b, data_range=255, channel_axis=-1, **form) for a, b in pairs]

    def ours() -> list[float]:
        return [measure(a, b) for a, b in pairs]

    note = _agree("SSIM", ours(), plain(), 5e-7)  # sums in float32: 2e-7 were seen
    what = f"SSIM against scikit-image, {side}x{side}"
    return _line(what, (plain, ours), 3.0, options.rounds, f"{len(pairs)} frames; {note}")


def _s3fd(options: Options) -> Line:
    size = (56, 80) if options.tiny else (180, 320)
    layers, picture = S3FD().eval(), torch.randn(1, 3, *size) * 60
    fast = channels_last(S3FD().eval())
    fast.load_state_dict(layers.state_dict())

    def plain() -> Any:
        with torch.no_grad():
            return [head(m) for head, m in zip(layers.loc, layers._maps(picture), strict=True)]

    def ours() -> Any:
        with torch.inference_mode():
            return fast(picture)

    ours()
    with torch.no_grad():
        expected = torch.cat([m.permute(0, 2, 3, 1).reshape(1, -1, 4) for m in plain()], 1)
    note = _agree("S3FD", ours()[0].numpy(), expected.numpy(), 1e-4)
    return _line(f"S3FD against the plain layout, {size[1]}x{size[0]}", (plain, ours), 2.0, options.rounds, note)


def _secs(options: Options) -> list[Line]:
    """The package on two files against ours: nothing kept, and the truth's embedding kept from an earlier system."""
    with tempfile.TemporaryDirectory(prefix="speed-") as name:
        made = shots(options.size(8, 4, 2), demo_clips())
        sources: list[Any] = [write_clip(Path(name), f"clip{i}", shot).audio for i, shot in enumerate(made)]
        pairs = list(zip(sources, [*sources[1:], sources[0]], strict=True))
        metric = Secs()
        metric.load("cpu")
        kept: dict[Path, Any] = {}

        def ours(known: Any) -> list[float]:
            return [_speaker_similarity(metric, one, other, kept if known else {}) for one, other in pairs]

        def plain() -> list[float]:
            return [naive.secs(one.path, other.path) for one, other in pairs]

        expected = plain()
        for _, other in pairs:
            medium = Media(None, other, "3" * 64)
            metric.score([metric.protocols[0].id], medium, medium, _truth(other))
            kept[other.path] = medium.new_features
        lines = []
        for label, known in (("first system", False), ("next system", True)):
            note = f"{len(pairs)} pairs; {_agree('SECS', ours(known), expected, 1e-5)}"
            works = (plain, lambda known=known: ours(known))
            lines.append(_line(f"SECS against the package, {label}", works, 3.0, options.rounds, note))
        return lines


def _truth(audio: Any) -> Reference:
    return Reference("clip", "0" * 64, None, audio, None, None, "tts")


def _speaker_similarity(metric: Secs, one: Any, other: Any, kept: dict[Path, Any]) -> float:
    reference = Media(None, other, "2" * 64, kept.get(other.path, {}))
    pid = metric.protocols[0].id
    score: Any = metric.score([pid], Media(None, one, "1" * 64), reference, _truth(other))[pid]
    return float(score.values["secs"])


def _bootstrap(options: Options, columns: int) -> Line:
    """A table's intervals: ``columns`` values (metrics times systems) of 1,000 clips, 1,000 resamples."""
    n, resamples = options.size(1000, 1000, 50), options.size(1000, 1000, 50)
    values = np.random.default_rng(1).normal(size=(columns, n))
    statistics = [Statistic(column) for column in values]

    def plain() -> list[Any]:
        found = []
        for column in values:
            generator = np.random.default_rng(0)
            means = [column[generator.integers(0, n, n)].mean() for _ in range(resamples)]
            found.append(np.percentile(means, (2.5, 97.5)))
        return found

    def ours() -> list[Any]:
        return [interval_of(samples) for samples in resample_all(statistics, resamples)]

    note = f"1,000 draws are shared by all; {_agree('bootstrap', ours(), plain(), 1e-9)}"
    what = f"bootstrap against a loop, {columns} value{'s' if columns > 1 else ''} of a table"
    return _line(what, (plain, ours), 50.0, options.rounds, note)


def _frechet(options: Options) -> list[Line]:
    sizes = ((512, 200), (512, 2000), (2048, 300), (2048, 4096)) if not options.tiny else ((32, 20), (32, 64))
    return [_distance(options, d, n) for d, n in sizes]


def _distance(options: Options, d: int, n: int) -> Line:
    """Two sets of ``n`` features of ``d`` dimensions; ours has their rows up to ``d`` of them, else their sums."""
    generator = np.random.default_rng(d + n)
    mix = generator.normal(size=(d, d)) / np.sqrt(d)
    a, b = generator.normal(size=(n, d)) @ mix, generator.normal(size=(n, d)) @ mix + 0.1
    pools = Pool(), Pool()
    for pool, features in zip(pools, (a, b), strict=True):
        pool.add(features)
    found: dict[str, float] = {}

    def plain() -> None:
        found["plain"] = _by_sqrtm(a, b)

    def ours() -> None:
        found["ours"] = distance(a, b) if n <= d else pool_distance(*pools)

    rounds = 1 if d > 1000 else options.rounds
    line = _line(f"Fréchet distance against sqrtm, d = {d}, n = {n}", (plain, ours), 5.0, rounds, "")
    return replace(line, note=line.note + _agree("Fréchet", found["ours"], found["plain"], 1e-5))


def _by_sqrtm(a: Any, b: Any) -> float:
    """As ``mseitzer/pytorch-fid: src/pytorch_fid/fid_score.py``."""
    from scipy.linalg import sqrtm

    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = np.real(sqrtm(first @ second))
    shift = a.mean(axis=0) - b.mean(axis=0)
    return float(shift @ shift + np.trace(first) + np.trace(second) - 2 * np.trace(root))
