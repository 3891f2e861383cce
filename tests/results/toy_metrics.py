"""A metric plug-in with one value of every kind, for tests of tables (its scores are invented, never computed)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.api import Aggregation, Failure, Metric, Protocol, Reference, Score, Value

NEEDS = frozenset({"audio"})


def _protocol(pid: str, *values: Value, gated: bool = True, needs: frozenset[str] = NEEDS) -> Protocol:
    return Protocol(pid, values, NEEDS, needs, "offline-real", {}, "invented", default=True, gated=gated)


class Toy(Metric):
    """Six protocols: a rate, a bounded mean, two means that papers print, a set value, a cost."""

    name = "toy"
    protocols = (
        _protocol(
            "wer/toy@1",
            Value(
                "wer",
                "WER",
                "lower",
                "fraction (shown in %)",
                0.0,
                aggregation=Aggregation("ratio", "edits", "ref_words"),
                scale=100.0,
                digits=2,
            ),
            Value(
                "macro", "WER clip mean", "lower", "fraction (shown in %)", 0.0, headline=False, scale=100.0, digits=2
            ),
        ),
        _protocol("sim/toy@1", Value("sim", "SIM", "higher", "cosine", -1.0, 1.0)),
        _protocol("sim/toy-other@1", Value("sim", "SIM", "higher", "cosine", -1.0, 1.0)),
        _protocol("offset/toy@1", Value("offset", "Offset", "zero", "frames", digits=1)),
        _protocol("set/toy@1", Value("spread", "Spread", "lower", "1", 0.0, aggregation=Aggregation("corpus"))),
        _protocol("cost/toy@1", Value("rtf", "RTF", "lower", "1", 0.0), gated=False, needs=frozenset({"cost"})),
    )

    def score(
        self, protocol_ids: Sequence[str], output: object, reference: object, truth: Reference
    ) -> Mapping[str, Score | Failure]:
        return {pid: Failure("model_error", "a toy measures nothing") for pid in protocol_ids}

    def aggregate(self, protocol_id, value, arrays, counts):
        """Variance of the drawn clips' numbers: no mean over clips."""
        import numpy as np

        from bench.api import Unscorable

        numbers = np.array([float(array["x"][0]) for array in arrays])
        if len(numbers) < 4:
            raise Unscorable("too_short", f"{len(numbers)} clips, 4 needed")
        total = counts.sum(axis=1)
        mean = counts @ numbers / total
        return counts @ numbers**2 / total - mean**2
