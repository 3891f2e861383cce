"""Listening and viewing tests: a page for participants, and what their answers say."""
