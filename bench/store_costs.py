"""What the results of a store took: seconds of scores, sizes of arrays, for the model of cost."""

from __future__ import annotations

from typing import NamedTuple

from bench.store_sql import Session

SAMPLE = 2_000  # clips of a run that are looked at; a rate needs no more

# Of a key the weights come before output and reference: without them each clip would search the whole protocol.
_COSTS = """SELECT s.output, s.reference, c.duration_s, s.seconds, s.created,
        coalesce((SELECT length(a.data) FROM score_arrays a WHERE a.protocol = s.protocol AND a.weights = s.weights
            AND a.output = s.output AND a.reference = s.reference), 0)
    FROM (SELECT * FROM run_clips WHERE run = :run ORDER BY clip_id LIMIT :sample) c
    CROSS JOIN outputs o ON o.run = c.run AND o.clip_id = c.clip_id
    CROSS JOIN scores s ON s.protocol = :protocol AND s.weights = :weights AND s.output = o.content
        AND s.reference = c.reference
    WHERE s.ok AND c.duration_s > 0 AND o.device = :device"""
_WEIGHTS = "SELECT weights FROM used_weights WHERE protocol = ? ORDER BY newest DESC"


class ScoreCost(NamedTuple):
    """One score: numbers of its output and reference in this store, seconds of media, seconds that it took,
    when it came, and the bytes of its arrays."""

    output: int
    reference: int
    media_s: float
    seconds: float
    created: str
    array_bytes: int


def score_costs(session: Session, run: int, protocol: str, device: str) -> list[ScoreCost]:
    """Of the first :data:`SAMPLE` clips of a run, under the newest weights that it was scored with.

    Scores of runs that were made on another kind of ``device`` (``cpu``, ``cuda``) are none. Those against
    ``cost_reference`` are not found: they take no time.
    """
    number = session.names.find(protocol)
    if number is None:
        return []
    for (weights,) in list(session.rows(_WEIGHTS, number)):
        bound = {"run": run, "protocol": number, "weights": weights, "device": device, "sample": SAMPLE}
        rows = [ScoreCost(*row) for row in session.connection.execute(_COSTS, bound)]
        if rows:
            return rows
    return []
