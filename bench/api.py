"""The public surface of ``bench`` for plug-ins: the contracts and the records they exchange.

A plug-in needs this module, :mod:`bench.media` and :mod:`bench.weights`, nothing else.
Importing it loads no numeric library, so that ``bench list`` stays quick; plug-in modules
keep heavy imports inside functions for the same reason.
"""

from bench.contracts import Control, Dataset, Engine, Metric, Progress, System
from bench.errors import BenchError, DataError, Unscorable, UsageError, did_you_mean
from bench.measure import charge
from bench.records import (
    FAILURE_KINDS,
    FPS,
    MADE,
    TASKS,
    Aggregation,
    Audio,
    CheckReport,
    Clip,
    Condition,
    Failure,
    Issue,
    Job,
    Outcome,
    Output,
    Protocol,
    Reference,
    Request,
    Score,
    Source,
    Task,
    Tier,
    Unit,
    Value,
    WeightFile,
    request_seed,
)

__all__ = [
    "FAILURE_KINDS",
    "FPS",
    "MADE",
    "TASKS",
    "Aggregation",
    "Audio",
    "BenchError",
    "CheckReport",
    "Clip",
    "Condition",
    "Control",
    "DataError",
    "Dataset",
    "Engine",
    "Failure",
    "Issue",
    "Job",
    "Metric",
    "Outcome",
    "Output",
    "Progress",
    "Protocol",
    "Reference",
    "Request",
    "Score",
    "Source",
    "System",
    "Task",
    "Tier",
    "Unit",
    "Unscorable",
    "UsageError",
    "Value",
    "WeightFile",
    "charge",
    "did_you_mean",
    "request_seed",
]
