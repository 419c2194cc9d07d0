"""No test reads the machine's calendar: what holds today holds on every day."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
FILES = [
    path
    for path in sorted(TESTS.rglob("*.py"))
    if "node_modules" not in path.parts
    and path.relative_to(TESTS).parts[0] != "bench"  # it measures the program as it is
]
# What reads it, by the end of its dotted name; monotonic clocks are no calendar.
CALENDAR = (
    "datetime.now",
    "datetime.utcnow",
    "datetime.today",
    "date.today",
    "time.time",
    "time.time_ns",
    "time.localtime",
    "time.gmtime",
    "time.ctime",
    "time.strftime",
)

_SUSPECT = re.compile(rf"\.({'|'.join(name.partition('.')[2] for name in CALENDAR)})\b|\bfrom time import\b")


def readings(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the name of everything in a program that reads the calendar."""
    if not _SUSPECT.search(source):
        return  # parsing every file would take seconds
    tree = ast.parse(source)
    renamed = {
        alias.asname or alias.name: f"time.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "time"
        for alias in node.names
    }
    last_words = {name.rpartition(".")[2] for name in CALENDAR} | set(renamed)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        if (node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")) not in last_words:
            continue  # unparsing every call would take seconds
        name = ast.unparse(node.func)
        name = renamed.get(name, name)
        if any(name == each or name.endswith(f".{each}") for each in CALENDAR):
            # The struct that is formatted was given: strftime of a datetime is a method of a value.
            if name.endswith("time.strftime") and len(node.args) > 1:
                continue
            yield node.lineno, name


@pytest.mark.parametrize(
    "program",
    [
        "from datetime import datetime\ndatetime.now()",
        "import datetime\ndatetime.datetime.now(datetime.UTC)",
        "import datetime\ndatetime.date.today()",
        "import time\ntime.time()",
        "from time import time\ntime()",
        "from time import localtime as now\nnow()",
    ],
)
def test_a_reading_is_noticed_however_it_is_written(program: str) -> None:
    assert [line for line, _ in readings(program)] == [2]


@pytest.mark.parametrize("program", ["import time\ntime.monotonic()", "from datetime import time\ntime(2, 30)"])
def test_other_clocks_and_times_of_day_are_not_taken_for_it(program: str) -> None:
    assert list(readings(program)) == []


def test_no_test_reads_the_calendar() -> None:
    found = [
        f"{path.relative_to(TESTS)}:{line}: {name}"
        for path in FILES
        for line, name in readings(path.read_text("utf-8"))
    ]
    assert found == []
