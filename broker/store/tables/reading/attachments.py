"""Files attached to signed reports; the database itself refuses to change or delete one."""

from __future__ import annotations

from datetime import datetime

from broker.domain.actors import Actor
from broker.domain.reading.attachments import Attachment, AttachmentKind, UploadedFile
from broker.store import rows
from broker.store.database import Reader, Row, Tx

_SELECT = (
    "SELECT id, order_id, version, signs, kind, name, length(content) AS size, digest, attached_by, attached_by_title,"
    " attached_at FROM report_attachment "
)


def add(
    tx: Tx,
    order_id: int,
    version: int,
    kind: AttachmentKind,
    file: UploadedFile,
    digest: str,
    actor: Actor,
    *,
    signs: int | None = None,
) -> int:
    """Insert a file that belongs to a version of a report; return its id."""
    values = {
        "order_id": order_id,
        "version": version,
        "signs": signs,
        "kind": kind,
        "name": file.name,
        "content": file.content,
        "digest": digest,
        "attached_by": actor.name,
        "attached_by_title": actor.title,
        "attached_at": tx.now.isoformat(),
    }
    return rows.insert(tx, "report_attachment", values)


def of_order(reader: Reader, order_id: int) -> list[Attachment]:
    """Return the files attached to an order's report, the newest version first, each document before its signatures."""
    found = reader.rows(_SELECT + "WHERE order_id = ? ORDER BY version DESC, coalesce(signs, id), id", [order_id])
    return [_from_row(row) for row in found]


def get(reader: Reader, id: int) -> Attachment | None:
    """Return an attached file, or None."""
    row = reader.one(_SELECT + "WHERE id = ?", [id])
    return _from_row(row) if row else None


def content(reader: Reader, id: int) -> bytes:
    """Return the content of an attached file; empty if there is none."""
    return bytes(reader.value("SELECT content FROM report_attachment WHERE id = ?", [id]) or b"")


def _from_row(row: Row) -> Attachment:
    return Attachment(
        id=row["id"],
        order_id=row["order_id"],
        version=row["version"],
        kind=AttachmentKind(row["kind"]),
        name=row["name"],
        size=row["size"],
        digest=row["digest"],
        attached_by=row["attached_by"],
        attached_by_title=row["attached_by_title"],
        attached_at=datetime.fromisoformat(row["attached_at"]),
        signs=row["signs"],
    )
