"""Use cases of templates of reports: doctors keep their own and the clinic's."""

from __future__ import annotations

from dataclasses import replace

from broker.domain.actors import Actor
from broker.domain.audit import AuditAction
from broker.domain.errors import Forbidden, Invalid, NotFound, Stale
from broker.domain.reading.report_templates import ReportTemplate
from broker.security.permissions import Permission, permit
from broker.store.database import Tx
from broker.store.tables import audit
from broker.store.tables.reading import report_templates
from broker.workflow.reading.reports import ReportText, problems, tidy

LONGEST_NAME = 80  # characters


def put(tx: Tx, template: ReportTemplate, actor: Actor) -> ReportTemplate:
    """Add a template (`id` None) or change one and return it; own ones are their doctor's only.

    Raise Invalid (`name`, the report's fields), Stale if somebody has changed it since, NotFound, Forbidden.
    """
    permit(tx, actor, Permission.REPORT)
    before = _own(tx, template.id, actor) if template.id is not None else None
    if template.owner not in ("", actor.name):
        raise Forbidden(f"{actor.name} writes no templates of {template.owner}")
    if before is not None and before.revision != template.revision:
        raise Stale(f"template {before.name}")
    text = tidy(ReportText(template.description, template.conclusion, template.recommendations))
    tidied = replace(
        template,
        name=" ".join(template.name.split()),
        description=text.description,
        conclusion=text.conclusion,
        recommendations=text.recommendations,
    )
    found = problems(text, signing=template.finding is not None)
    if not tidied.name or len(tidied.name) > LONGEST_NAME:
        found["name"] = "too_long" if tidied.name else "required"
    elif report_templates.is_taken(tx, tidied):
        found["name"] = "taken"
    if found:
        raise Invalid(found)
    after = report_templates.put(tx, tidied)
    audit.write(tx, actor, AuditAction.TEMPLATE_PUT, procedure=after.procedure_code, name=after.name, owner=after.owner)
    tx.notify()
    return after


def delete(tx: Tx, id: int, actor: Actor) -> None:
    """Delete a template. Raise NotFound, Forbidden."""
    permit(tx, actor, Permission.REPORT)
    before = _own(tx, id, actor)
    report_templates.delete(tx, id)
    audit.write(tx, actor, AuditAction.TEMPLATE_DELETE, procedure=before.procedure_code, name=before.name)
    tx.notify()


def _own(tx: Tx, id: int, actor: Actor) -> ReportTemplate:
    found = report_templates.get(tx, id)
    if found is None:
        raise NotFound(f"template {id}")
    if found.owner not in ("", actor.name):
        raise Forbidden(f"template {id} is of {found.owner}")
    return found
