"""What is said of a fault that nothing foresaw."""

from __future__ import annotations

import traceback
from pathlib import Path


def sentence(error: Exception) -> str:
    """Return a fault in one line, without its message, which may hold a name: its kind, and where in the program."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"a fault of the program, report it to the administrator: {type(error).__name__}{where}"
