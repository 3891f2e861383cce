"""Baselines and controls: upper bound, shuffle, anchor, simple generators, and finished outputs of others."""
