"""What all tests share."""

from __future__ import annotations

import signal

# A job in the background of a shell ignores Ctrl-C, and its children would too; the commands that
# tests start are to be interrupted as a user's are.
signal.signal(signal.SIGINT, signal.default_int_handler)
