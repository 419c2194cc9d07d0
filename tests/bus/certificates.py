"""Certificates made for a test by OpenSSL: an authority of its own, and what it has signed."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


class Authority:
    """A certificate authority in a directory; `file` is what a client trusts."""

    def __init__(self, directory: Path, name: str = "Test authority") -> None:
        if not shutil.which("openssl"):
            pytest.skip("openssl is not installed")
        self._directory = directory
        self._made = 0
        self.file = directory / "authority.pem"
        self._key = directory / "authority.key"
        use = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"]
        _openssl(
            "req", "-x509", *_KEY, "-days", "2", "-subj", f"/CN={name}", *use, "-keyout", self._key, "-out", self.file
        )

    def sign(self, name: str = "IP:127.0.0.1", days: int = 2, use: str = "serverAuth") -> tuple[Path, Path]:
        """Make a certificate for a name ("IP:…", "DNS:…") and its key; one of -1 days has expired yesterday."""
        self._made += 1
        stem = self._directory / f"{self._made}"
        request, extensions = stem.with_suffix(".csr"), stem.with_suffix(".ext")
        certificate, key = stem.with_suffix(".pem"), stem.with_suffix(".key")
        extensions.write_text(f"subjectAltName={name}\nextendedKeyUsage={use}\n")
        _openssl("req", *_KEY, "-subj", "/CN=test", "-keyout", key, "-out", request)
        signer: list[str | Path] = ["-CA", self.file, "-CAkey", self._key, "-CAcreateserial", "-extfile", extensions]
        _openssl("x509", "-req", "-in", request, *signer, "-days", str(days), "-out", certificate)
        return certificate, key

    def server(self, name: str = "IP:127.0.0.1", days: int = 2, *, clients: bool = False) -> ssl.SSLContext:
        """Make a server's side of TLS; with `clients` it lets in only who shows a certificate of this authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.sign(name, days))
        if clients:
            context.load_verify_locations(self.file)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def encrypted(key: Path) -> Path:
    """Write a key anew, under a password."""
    locked = key.with_name("locked.key")
    _openssl("pkey", "-in", key, "-aes256", "-passout", "pass:secret", "-out", locked)
    return locked


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=30)
