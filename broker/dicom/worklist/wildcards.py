"""Wildcards of PS3.4 C.2.2.2.4, in bounded time."""

from __future__ import annotations


def wildcard(pattern: str, value: str) -> bool:
    """Return True if a value matches a pattern of `*` (any run of characters) and `?` (any one).

    Takes at most len(pattern) x len(value) steps, however many stars there are.
    """
    at, place, star, mark = 0, 0, -1, 0
    while place < len(value):
        if at < len(pattern) and pattern[at] == "*":
            star, mark = at, place
            at += 1
        elif at < len(pattern) and pattern[at] in ("?", value[place]):
            at += 1
            place += 1
        elif star >= 0:
            mark += 1
            at, place = star + 1, mark
        else:
            return False
    return all(char == "*" for char in pattern[at:])
