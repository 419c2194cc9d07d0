"""Makes Python collect garbage rarely: a full collection stops every thread, also the DICOM port.

With twenty open boards a full collection takes 0.3 s, and with Python's defaults it happened every other second.
"""

from __future__ import annotations

import gc

# Surviving new objects before the young generation is collected (2 ms); collections of it before the middle one is
# (15 ms), and of that before everything is: after about as many objects as forty opened pages leave.
YOUNG, MIDDLE, FULL = 5_000, 10, 12


def collect_garbage_rarely() -> None:
    """Collect rarely from now on, and never the objects that exist by now: the program itself."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, FULL)
