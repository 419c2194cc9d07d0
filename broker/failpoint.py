"""Named places at which a test kills the process, to show that nothing acknowledged is lost.

`WLB_FAILPOINT=name` in the environment arms one place; without it a fail point costs one comparison and does nothing.
"""

from __future__ import annotations

import os
import signal

_ARMED = os.environ.get("WLB_FAILPOINT", "")

COMMITTED_NOT_ANSWERED = "committed-not-answered"  # the store has it, the caller does not know yet
POSTED_NOT_DELIVERED = "posted-not-delivered"  # the bus has it, the outbox does not know yet


def reach(name: str) -> None:
    """Die here, as by a power cut, if this place is armed."""
    if name == _ARMED:
        os.kill(os.getpid(), signal.SIGKILL)
