"""``bench``: a benchmark and evaluation harness for video-to-speech and talking-head generation.

The public surface is :mod:`bench.api`, :mod:`bench.media` and :mod:`bench.weights`;
everything else may change between versions.
"""

__version__ = "0.1.0"
