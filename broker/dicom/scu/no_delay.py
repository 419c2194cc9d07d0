"""Connections of the library to other application entities, without its wait of 40 ms a message."""

from __future__ import annotations

import socket

from pynetdicom import evt

# The library sends a command and its data set one after the other. By default (Nagle) the second waits until the first
# is acknowledged, which the other side puts off for 40 ms.


def send_at_once(event: evt.Event) -> None:
    """Let each PDU of a connection that has just been opened go out by itself."""
    wrapped = event.assoc.dul.socket
    if wrapped is not None and wrapped.socket is not None:
        wrapped.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


HANDLERS: list[evt.EventHandlerType] = [(evt.EVT_CONN_OPEN, send_at_once)]
