"""Templates of reports: the texts that a reader of a procedure begins with, the clinic's and each doctor's own."""

from __future__ import annotations

from broker.domain.reading.opinions import Finding
from broker.domain.reading.report_templates import ReportTemplate
from broker.store import rows
from broker.store.database import Reader, Row, Tx


def get(reader: Reader, id: int) -> ReportTemplate | None:
    """Return a template by its id, or None."""
    row = reader.one("SELECT * FROM report_template WHERE id = ?", [id])
    return _from_row(row) if row else None


def of_procedure(reader: Reader, code: str, login: str) -> list[ReportTemplate]:
    """Return the templates that a doctor has for a procedure, the own ones before the clinic's."""
    found = reader.rows(
        "SELECT * FROM report_template WHERE procedure_code = ? AND owner IN ('', ?) ORDER BY owner = '', name",
        [code, login],
    )
    return [_from_row(row) for row in found]


def visible(reader: Reader, login: str) -> list[ReportTemplate]:
    """Return all templates of the clinic and of a doctor."""
    found = reader.rows(
        "SELECT * FROM report_template WHERE owner IN ('', ?) ORDER BY procedure_code, owner = '', name", [login]
    )
    return [_from_row(row) for row in found]


def put(tx: Tx, template: ReportTemplate) -> ReportTemplate:
    """Insert a template, or write it over its older state; return it with its id and revision.

    Another one of the same procedure, owner and finding loses the finding: a key has one meaning.
    """
    if template.finding:
        tx.run(
            "UPDATE report_template SET finding = '' WHERE procedure_code = ? AND owner = ? AND finding = ?"
            " AND id IS NOT ?",
            [template.procedure_code, template.owner, template.finding, template.id],
        )
    values = {name: getattr(template, name) for name in _COLUMNS} | {"finding": template.finding or ""}
    if template.id is None:
        id = rows.insert(tx, "report_template", values)
    else:
        id = template.id
        rows.update(tx, "report_template", values, {"id": id}, also="revision = revision + 1")
    [row] = tx.rows("SELECT * FROM report_template WHERE id = ?", [id])
    return _from_row(row)


def is_taken(reader: Reader, template: ReportTemplate) -> bool:
    """Return True if another template of the same procedure and owner has this name."""
    found = reader.value(
        "SELECT 1 FROM report_template WHERE procedure_code = ? AND owner = ? AND name = ? AND id IS NOT ?",
        [template.procedure_code, template.owner, template.name, template.id],
    )
    return found is not None


def delete(tx: Tx, id: int) -> None:
    """Delete a template; reports that were made of it stay as they are."""
    tx.run("DELETE FROM report_template WHERE id = ?", [id])


_COLUMNS = ("procedure_code", "name", "owner", "description", "conclusion", "recommendations")


def _from_row(row: Row) -> ReportTemplate:
    finding = Finding(row["finding"]) if row["finding"] else None
    return ReportTemplate(
        **{name: row[name] for name in _COLUMNS}, finding=finding, revision=row["revision"], id=row["id"]
    )
