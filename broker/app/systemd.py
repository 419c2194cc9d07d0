"""Notifies the service manager that the program is ready, alive, or stopping.

The sd_notify protocol is one datagram to the socket named in NOTIFY_SOCKET; outside systemd nothing is sent
and nothing fails. `application` decides when it is ready.
"""

from __future__ import annotations

import os
import socket


def notify(state: str) -> None:
    """Send one sd_notify state, such as "READY=1" or "WATCHDOG=1"; do nothing without NOTIFY_SOCKET.

    A service manager that cannot be reached is not an error of the program.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    # sd_notify(3): a path, or "@name" for Linux' abstract namespace, where the name begins with a NUL.
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection:
        try:
            # A datagram to a full queue blocks; the caller may be the event loop, which must not wait.
            connection.sendto(state.encode(), socket.MSG_DONTWAIT, address)
        except OSError:
            return


def watchdog_interval() -> float | None:
    """Return the seconds between two "WATCHDOG=1", half of WatchdogSec; None without a watchdog."""
    # sd_watchdog_enabled(3): the variables are inherited by children, so WATCHDOG_PID names the right process.
    watched = os.environ.get("WATCHDOG_PID")
    if watched is not None and watched != str(os.getpid()):
        return None
    try:
        microseconds = int(os.environ.get("WATCHDOG_USEC", "0"))
    except ValueError:
        return None
    return microseconds / 2_000_000 if microseconds > 0 else None
