"""How often Python collects garbage: a full collection stops every thread, the modalities' port among them.

With twenty boards open a full collection takes 0.3 s, and by Python's own thresholds it came every other second.
"""

from __future__ import annotations

import gc

# Surviving new objects before the young generation is collected (2 ms); collections of it before the middle one is
# (15 ms), and of that before everything is: after about as many objects as forty opened pages leave.
YOUNG, MIDDLE, FULL = 5_000, 10, 12


def collect_rarely() -> None:
    """Collect rarely from now on, and never again what exists by now: the program itself."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, FULL)
