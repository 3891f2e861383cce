"""The canonical metrics on networks whose weights come from a rule: regression, no quality.

``bench run --plugin metrics/seeded.py --metrics seeded`` gives, for every protocol that needs weights of the
user, a value of the same code with weights by rule ``detfill-1`` (:mod:`bench.detfill`). The values say nothing
about an output; they move when the code moves, on a machine that has no weights. That is all they are for: the
ids begin with ``seeded``, end in ``@0``, and no entry point registers them, so that they stand in no list and no
table that did not ask for this file.

Twins of protocols with face tracks are a family of their own, ``seeded-tracks``: clips of 4 s and less, as those
of the demo's ``test`` split, have no track and no value. Faces come from dlib, since a detector with such
weights finds none, and Whisper has small dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.api import Failure, Metric, Protocol, Reference, Score, Unscorable
from bench.metrics.csim.arcface import CsimArcface
from bench.metrics.fid import Fid
from bench.metrics.lse.metric import DETECTOR_PARAMETERS, Lse
from bench.metrics.lse.protocols import TRACKED
from bench.metrics.utmos import Utmos
from bench.metrics.whisper_wer import WhisperWer
from bench.networks import Seeded

if TYPE_CHECKING:
    from bench.media import Media
    from bench.records import Array

#: Gains under which a filled network's activations neither vanish nor explode, by the name of its file.
GAINS: Mapping[str, float] = {
    "syncnet_v2.model": 2.45,
    "utmos22_strong_step7459_v1.pt": 1.2,
    "pt_inception-2015-12-05-6726825d.pth": 2.45,
    "backbone.pth": 1.2,
    "large-v3.pt": 2.0,
    "medium.pt": 2.0,
}
#: Whisper's sizes here; the released ones have 769 M parameters and more.
SMALL_WHISPER: Mapping[str, int] = {
    "n_audio_ctx": 1500,
    "n_audio_state": 64,
    "n_audio_head": 2,
    "n_audio_layer": 2,
    "n_text_ctx": 448,
    "n_text_state": 64,
    "n_text_head": 2,
    "n_text_layer": 2,
}
INNER: tuple[type[Metric], ...] = (Lse, Utmos, Fid, CsimArcface, WhisperWer)


def twin_of(protocol: Protocol) -> Protocol:
    """The regression protocol of a canonical one: ``seeded/<family>-<what>@0``, or ``seeded-tracks/...``."""
    family = "seeded-tracks" if protocol in TRACKED else "seeded"
    return replace(
        protocol,
        id=f"{family}/{protocol.id.split('@')[0].replace('/', '-')}@0",
        status="regression-test-only",
        values=tuple(replace(value, label=f"seeded {value.label}") for value in protocol.values),
        weights=(),
        default=False,
        used_by=(),
        note="weights by rule detfill-1: no quality, only regression",
    )


class SeededTwins(Metric):
    """Every canonical metric with filled weights."""

    name = "seeded"
    summary = "regression of the canonical metrics' code, with weights by rule: meaningless as quality"
    protocols = tuple(twin_of(protocol) for inner in INNER for protocol in inner.protocols)

    def __init__(self) -> None:
        self._weights = Seeded(GAINS)
        self._device = "cpu"
        self._metrics: tuple[Metric, ...] = ()
        self._loaded: set[str] = set()
        self._inner = {twin_of(p).id: (inner, p.id) for inner in INNER for p in inner.protocols}

    def load(self, device: str) -> None:
        """See :meth:`bench.api.Metric.load`; networks are filled when a twin that needs them is first asked for."""
        from bench.metrics.lse.dlib_boxes import dlib_detect

        self._device = device
        self._loaded.clear()
        self._metrics = (
            Lse(self._weights, dlib_detect(DETECTOR_PARAMETERS)),
            Utmos(self._weights),
            Fid(self._weights),
            CsimArcface(self._weights),
            WhisperWer(self._weights, SMALL_WHISPER),
        )

    def prepare(self, protocol_ids: Sequence[str], outputs: Sequence[Media]) -> None:
        """See :meth:`bench.api.Metric.prepare`: what the inner metrics compute of several media at once."""
        for metric, asked in self._asked(protocol_ids):
            metric.prepare(list(asked.values()), outputs)

    def score(
        self, protocol_ids: Sequence[str], output: Media, reference: Media, truth: Reference
    ) -> Mapping[str, Score | Failure]:
        """The inner metrics' results under the twins' ids; what stops one does not stop the others."""
        results: dict[str, Score | Failure] = {}
        for metric, asked in self._asked(protocol_ids):
            try:
                found: Mapping[str, Score | Failure] = metric.score(list(asked.values()), output, reference, truth)
            except Unscorable as error:
                found = dict.fromkeys(asked.values(), Failure(error.kind, error.detail))
            results.update({pid: found[inner] for pid, inner in asked.items()})
        return results

    def _asked(self, protocol_ids: Sequence[str]) -> Iterator[tuple[Metric, dict[str, str]]]:
        """The inner metrics that have something to do, loaded, with the inner ids by their twins' ids."""
        for metric in self._metrics:
            own = {pid: inner for pid, (owner, inner) in self._inner.items() if owner is type(metric)}
            asked = {pid: own[pid] for pid in protocol_ids if pid in own}
            if not asked:
                continue
            if metric.name not in self._loaded:
                metric.load(self._device)
                self._loaded.add(metric.name)
            yield metric, asked

    def aggregate(self, protocol_id: str, value: str, arrays: Sequence[Mapping[str, Array]], counts: Array) -> Array:
        """See :meth:`bench.api.Metric.aggregate`: the inner metric's."""
        owner, inner = self._inner[protocol_id]
        return owner().aggregate(inner, value, arrays, counts)
