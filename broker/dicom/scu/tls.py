"""TLS towards other application entities (PS3.15 B.9, BCP 195: 1.2 and later)."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ClientTls:
    """By whom the other side's certificate must be signed, and what is shown of ours; all are PEM files."""

    authority: Path
    certificate: Path | None = None  # with its chain; None: we show none
    key: Path | None = None

    def to(self, host: str) -> tuple[ssl.SSLContext, str]:
        """Return the context of a connection with a host, and the name that its certificate must bear.

        The files are read each time, so those that were replaced are used without a restart. Raise OSError if they
        cannot be used.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_verify_locations(self.authority)
        if self.certificate is not None:
            context.load_cert_chain(self.certificate, self.key, password=lambda: "")
        return context, host
