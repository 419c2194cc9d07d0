"""Who speaks to the port, as the services are told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    """A calling AE title and the address that it calls from."""

    ae_title: str
    address: str
