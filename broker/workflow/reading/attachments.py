"""A doctor attaches to a signed report what a tool of the own has made of it: a PDF or XML, and detached signatures.

This program does no cryptography: it keeps the files as they came, and does not say that a signature is valid.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from xml.parsers import expat

from broker.domain.actors import Actor, ActorKind
from broker.domain.audit import AuditAction
from broker.domain.errors import Forbidden, Invalid, Stale, WrongState
from broker.domain.reading.attachments import AttachmentKind, UploadedFile
from broker.security.permissions import Permission, permit
from broker.store.database import Tx
from broker.store.tables import audit, orders
from broker.store.tables.reading import attachments, reports

LARGEST_DOCUMENT = 10 << 20  # bytes
LARGEST_SIGNATURE = 1 << 20
MOST_SIGNATURES = 8
MOST_FILES = 40  # of a report
LONGEST_NAME = 128
_SIGNATURE_NAME = re.compile(r".\.(sig|p7s|sgn)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Examined:
    """A document and its signatures that were found to be what they should be, with their digests."""

    kind: AttachmentKind
    document: tuple[UploadedFile, str]
    signatures: tuple[tuple[UploadedFile, str], ...]


def examine(document: UploadedFile, signatures: Sequence[UploadedFile]) -> Examined:
    """Return files that may be attached; it may take its time, so it needs no transaction.

    Raise Invalid (`document`, `signatures`: required, too_long, too_many, unreadable).
    """
    problems = {}
    kind = _kind(document.content) if len(document.content) <= LARGEST_DOCUMENT else None
    if not document.content:
        problems["document"] = "required"
    elif len(document.content) > LARGEST_DOCUMENT:
        problems["document"] = "too_long"
    elif kind is None:
        problems["document"] = "unreadable"
    if len(signatures) > MOST_SIGNATURES:
        problems["signatures"] = "too_many"
    elif any(len(each.content) > LARGEST_SIGNATURE for each in signatures):
        problems["signatures"] = "too_long"
    elif not all(_is_signature(each) for each in signatures):
        problems["signatures"] = "unreadable"
    if problems or kind is None:
        raise Invalid(problems)
    return Examined(kind, _digested(document), tuple(_digested(each) for each in signatures))


def attach(tx: Tx, order_id: int, version: int, files: Examined, actor: Actor) -> int:
    """Attach a document with its signatures to the version of a signed report that the doctor saw; return its id.

    The same document again gets only the signatures that it does not have yet. Raise WrongState if no report is signed
    or it is withdrawn, Stale if it has another version, Invalid (`signatures`: too_many), Forbidden.
    """
    permit(tx, actor, Permission.REPORT)
    if actor.kind is not ActorKind.PERSON:
        raise Forbidden(f"{actor.name} is not a person, and only people may attach files")
    order = orders.require(tx, order_id)
    report = reports.signed(tx, order_id)
    if report is None or report.is_withdrawn:
        raise WrongState(f"no report on {order.accession_number} is signed")
    if report.version != version:
        raise Stale(f"the report on {order.accession_number}")
    known = attachments.of_order(tx, order_id)
    if len(known) + 1 + len(files.signatures) > MOST_FILES:
        raise Invalid({"signatures": "too_many"})
    document, digest = files.document
    same = (each.id for each in known if (each.version, each.kind, each.digest) == (version, files.kind, digest))
    id, added = next(same, None), []
    if id is None:
        id = attachments.add(tx, order_id, version, files.kind, document, digest, actor)
        added.append(digest)
    has = {each.digest for each in known if each.signs == id}
    for file, own in files.signatures:
        if own not in has:
            has.add(own)
            added.append(own)
            attachments.add(tx, order_id, version, AttachmentKind.SIGNATURE, file, own, actor, signs=id)
    if added:
        audit.write(tx, actor, AuditAction.REPORT_ATTACH, order_id, version=version, digests=", ".join(added))
        tx.notify()
    return id


def _digested(file: UploadedFile) -> tuple[UploadedFile, str]:
    return _named(file), hashlib.sha256(file.content).hexdigest()


def _kind(content: bytes) -> AttachmentKind | None:
    """Return what a document is by its content; its name says nothing."""
    if content.startswith(b"%PDF-"):
        return AttachmentKind.PDF
    root = _root(content)
    return None if root is None or root.lower() in ("html", "svg") else AttachmentKind.XML


def _root(content: bytes) -> str | None:
    """Return the root element's name of an XML without entities of its own; None if it is none. Nothing is built."""
    names: list[str] = []

    def begin(name: str, _: dict[str, str]) -> None:
        names[:] = names or [name.rpartition(" ")[2]]

    def refuse(*_: object) -> None:
        raise ValueError

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler, parser.EntityDeclHandler = begin, refuse
    try:
        parser.Parse(content, True)
    except (expat.ExpatError, ValueError, LookupError):  # LookupError: an unknown encoding
        return None
    return names[0] if names else None


def _is_signature(file: UploadedFile) -> bool:
    """Return True if a file looks like a detached signature: CMS as DER (a SEQUENCE), PEM or base64 of it."""
    start = file.content[:64].lstrip()
    is_cms = file.content[:1] == b"\x30" or start.startswith((b"-----BEGIN ", b"MI"))
    return is_cms and len(file.content) > 16 and _SIGNATURE_NAME.search(file.name) is not None


def _named(file: UploadedFile) -> UploadedFile:
    """Return a file under a name that can stand on a page and in a header, its ending kept."""
    bare = re.split(r"[/\\]", file.name)[-1]
    name = "".join(char for char in bare if char.isprintable()).strip() or "file"
    return replace(file, name=name[-LONGEST_NAME:])
