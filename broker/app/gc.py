"""How often Python looks for garbage: a full look stops every thread, the modalities' port among them.

With twenty boards open a full look takes 0.3 s, and by Python's own thresholds it came every other second.
"""

from __future__ import annotations

import gc

# New objects that live on, before the young ones are looked through (2 ms); how often that happens before the middle
# ones are (15 ms), and how often that before everything is: after about as many objects as forty opened pages leave.
YOUNG, MIDDLE, FULL = 5_000, 10, 12


def seldom() -> None:
    """Look for garbage seldom, and never again among what is there by now: the program itself; for its whole life."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, FULL)
