"""What commands print: results for people or as JSON, and the progress of long imports."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any

from broker.domain.import_result import Progress, silent

_EVERY = 50  # items between two updates of the progress line
_LEAST = 200  # items; a shorter import needs no progress


def show(as_json: bool, value: Any, lines: Iterable[str]) -> None:
    """Print `value` as JSON, or the lines for people."""
    if as_json:
        print(json.dumps(value, ensure_ascii=False, indent=1))
        return
    for line in lines:
        print(line)


def progress(what: str) -> Progress:
    """Return a printer of how far an import is, such as «50 of 400 rows»; a silent one without a terminal.

    It writes to standard error, and only if standard output is redirected: otherwise each item has its own line.
    """
    if not sys.stderr.isatty() or sys.stdout.isatty():
        return silent

    def printed(done: int, total: int | None) -> None:
        if total is None:
            if done % _LEAST == 0:
                print(f"\r{done} {what}", end="", file=sys.stderr, flush=True)
        elif total >= _LEAST and (done % _EVERY == 0 or done == total):
            print(f"\r{done} of {total} {what}", end="\n" if done == total else "", file=sys.stderr, flush=True)

    return printed
