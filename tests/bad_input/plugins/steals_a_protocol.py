"""A metric that declares the protocol of another one."""

from dataclasses import replace

from bench.api import Metric, Score
from bench.metrics.duration import Duration


class Thief(Metric):
    """Would put other numbers under a known id."""

    name = "thief"
    protocols = (replace(Duration.protocols[0], note="mine"),)

    def score(self, protocol_ids, output, reference, truth):
        return {pid: Score({"duration": 0.0}) for pid in protocol_ids}
