"""Limits of what a peer may cost the port: bytes, seconds, associations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

LARGEST_REQUEST = 1 << 18  # bytes of an A-ASSOCIATE-RQ; 128 contexts with 12 transfer syntaxes each fit
LARGEST_PDU = 1 << 20  # bytes of a P-DATA-TF that are read, also of a peer that does not keep to what was agreed
LARGEST_COMMAND = 1 << 16  # bytes of a command set
AFTER_ABORT = 0.5  # seconds that a peer has to close the connection after an A-ABORT
AFTER_RELEASE = 5.0  # … and after an A-RELEASE-RP or A-ASSOCIATE-RJ
MOST_IGNORED = 1 << 16  # bytes that are taken and dropped after the end, so that the peer's closing is seen
MOST_AT_ONCE = 100  # PDUs of one peer that are read before others have their turn
MOST_COLLECTED = 48 << 20  # bytes of unfinished messages, unless a port is set otherwise
MOST_WAITING = 8  # messages that a peer may send ahead while one is answered


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one port; seconds are counted by the monotonic clock, from a fixed beginning."""

    max_pdu: int = 65536  # bytes that a peer is asked to keep a PDU within
    max_message: int = 12 << 20  # bytes of one message, the headers of its fragments included
    # Bytes of the dataset of a C-STORE by its SOP Class UID; what is longer is dropped as it comes, and refused.
    stored: Mapping[str, int] = field(default_factory=dict)
    most_collected: int = MOST_COLLECTED  # bytes of unfinished messages, all associations together
    association: float = 15.0  # from the connection to the whole A-ASSOCIATE-RQ (with TLS: its handshake, too)
    message: float = 30.0  # from the first byte of a message, or of a PDU, to its last
    idle: float = 60.0  # between messages
    sending: float = 30.0  # for a peer to take what is sent
    answer: float = 60.0  # for the next part of an answer to be worked out here
    associations: int = 100
    per_address: int = 50  # associations from one address; and connections, twice as many

    @property
    def connections(self) -> int:
        """How many connections may be open, those included that have not yet asked for an association."""
        return 2 * self.associations + 50
