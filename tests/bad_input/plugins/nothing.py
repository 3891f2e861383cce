"""Defines no plug-in."""

ANSWER = 42
