"""The demo corpus: speech by espeak-ng and faces warped from one public-domain portrait.

Made on the user's machine, deterministic, without downloads: see :mod:`bench.datasets.demo.make`.
"""
