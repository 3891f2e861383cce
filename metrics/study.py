"""What people say in a study of ``bench study``: mean opinion scores and preference.

No program computes these: ``bench study make`` builds the page that people fill in, ``bench study read``
puts their answers into the store under these ids. A clip's value is over the people who judged it; a set
value is over all judgements, so that a clip that more people heard weighs more. The panel (which study,
whose answers) stands in a score's key where other protocols have their weights: the panel that was read
last is the one that tables show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.api import Aggregation, Failure, Metric, Protocol, Reference, Score, Unscorable, Value
from bench.metrics.declare import ANY_STREAM, MOS_UNIT

if TYPE_CHECKING:
    from bench.media import Media

#: What every study has in common; the page and its reader take their rules from here.
PROCEDURE: dict[str, Any] = {
    "clips": "a sample of a run's clips, the same for all systems, spread over speakers",
    "presentation": "video with sound, sound at -26 dB RMS of full scale (peak at most 0.95), 48 kHz, H.264 and AAC",
    "level_db": -26.0,
    "peak": 0.95,
    "rate_hz": 48000,
    "order": "random per participant by the study's seed; systems rotate over clips (Latin square)",
    "attention": "clips whose sound is noise and whose picture is blocks; one check that is missed refuses the answers",
    "not_in_gate": True,
}
#: Opinion scores: 1 bad, 2 poor, 3 fair, 4 good, 5 excellent, in half steps.
SCALE: dict[str, Any] = {"low": 1.0, "high": 5.0, "step": 0.5, "attention_at_most": 2.0}
NOTE = "intervals here are over clips; `bench study read` prints those over people. Comparable inside one study only"


def _opinion(question: str, label: str, needs: frozenset[str], asked: str) -> Protocol:
    return Protocol(
        id=f"study/mos-{question}@1",
        values=(
            Value(
                "mos",
                label,
                "higher",
                MOS_UNIT,
                SCALE["low"],
                SCALE["high"],
                Aggregation("ratio", "rating_sum", "ratings"),
                digits=2,
            ),
        ),
        judges=ANY_STREAM,
        judges_either=True,
        needs=needs,
        status="listeners",
        parameters={**PROCEDURE, "asked": asked, "scale": SCALE},
        source="ITU-T P.800, absolute category rating, with half steps",
        gated=False,
        failures=("missing_output",),
        note=NOTE,
        sampled=True,
    )


def _share(name: str, label: str, numerator: str) -> Value:
    aggregation = Aggregation("ratio", numerator, "comparisons")
    return Value(name, label, "higher", "fraction (shown in %)", 0.0, 1.0, aggregation, scale=100.0, digits=1)


NATURALNESS = _opinion("naturalness", "MOS-naturalness", frozenset({"audio"}), "naturalness of what was generated")
SYNC = _opinion("sync", "MOS-sync", frozenset({"audio", "video"}), "whether voice and lips go together")
PREFERENCE = Protocol(
    id="study/preference@1",
    values=(_share("preference", "Preference", "points"), _share("win_rate", "Win-rate", "wins")),
    judges=ANY_STREAM,
    judges_either=True,
    needs=frozenset({"audio"}),
    status="listeners",
    parameters={
        **PROCEDURE,
        "asked": "which of two versions of one clip is better as a whole: the first, the second, or neither",
        "preference": "(wins + ties / 2) / comparisons, over all other systems of the study",
        "win_rate": "wins / comparisons: a tie is no win, as papers print it",
    },
    source="paired comparison with ties",
    gated=False,
    failures=("missing_output",),
    note=NOTE,
    sampled=True,
)
#: Question of a study of opinions -> its protocol.
QUESTIONS: Mapping[str, Protocol] = {"naturalness": NATURALNESS, "sync": SYNC}


class Study(Metric):
    """Judgements of people; scoring by a program is refused."""

    name = "study"
    summary = "opinion scores and preference of people (bench study make, bench study read)"
    protocols = (NATURALNESS, SYNC, PREFERENCE)

    def missing(self, protocol_id: str) -> list[str]:
        """Always something: people."""
        return ["people judge this: `bench study make` builds their page, `bench study read` stores their answers"]

    def score(
        self, protocol_ids: Sequence[str], output: Media, reference: Media, truth: Reference
    ) -> Mapping[str, Score | Failure]:
        """Refused: see :meth:`missing`."""
        raise Unscorable("model_error", self.missing(protocol_ids[0])[0])
