"""Use case of directories: replace one, and update the procedures that the desk offers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from broker.domain.actors import Actor
from broker.domain.audit import AuditAction
from broker.domain.clinic.default_procedures import PROCEDURES
from broker.domain.clinic.devices import ProcedureType
from broker.domain.clinic.directory import Entry, search_key
from broker.domain.errors import Refused
from broker.security.permissions import Permission, permit
from broker.store.database import Tx
from broker.store.queries import lookups
from broker.store.tables import audit, devices, directories
from broker.store.tables.directories import ImportChange


@dataclass(frozen=True, slots=True)
class DirectorySource:
    """Where entries come from: a kind of directory, its code system's OID and version, the file's name."""

    kind: str
    system: str
    version: str
    file: str


@dataclass(frozen=True, slots=True)
class ReplaceResult:
    """The change, and how many procedures the desk offers now; `offered_local` of them are local."""

    change: ImportChange
    offered: int
    offered_local: int


def replace_directory(
    tx: Tx,
    source: DirectorySource,
    entries: Sequence[Entry],
    actor: Actor,
    *,
    offered: Sequence[ProcedureType] = (),
    replace_defaults: bool = False,
) -> ReplaceResult:
    """Replace all entries of a kind of directory.

    If procedures are replaced, the desk offers `offered` from now on, and the local default procedures unless
    `replace_defaults`. Raise Refused if the desk would then offer none, Forbidden, SessionEnded.
    """
    permit(tx, actor, Permission.MANAGE)
    change = directories.replace(tx, source.kind, source.system, source.version, source.file, entries)
    if source.kind == "procedures":
        if replace_defaults and not offered:
            raise Refused("without the default set the desk would have no procedure")
        devices.offer_official(tx, [replace(each, local=False) for each in offered])
        if replace_defaults:
            devices.withdraw_local(tx, [each.code for each in PROCEDURES])
    if source.kind in ("procedures", "body-sites"):
        devices.place_body_sites(tx, _body_sites(tx))
    audit.write(
        tx,
        actor,
        AuditAction.DIRECTORY_REPLACED,
        kind=source.kind,
        system=source.system,
        version=source.version,
        file=source.file,
        entries=len(entries),
        gone=change.gone,
    )
    now = lookups.procedures(tx)
    return ReplaceResult(change, len(now), sum(each.local for each in now))


def _body_sites(tx: Tx) -> dict[str, str]:
    """Return the body sites of the desk's official procedures, found by code or name: procedure code -> site code."""
    by_name: dict[str, set[str]] = {}
    for site in directories.entries(tx, "body-sites"):
        by_name.setdefault(search_key(site.name), set()).add(site.code)
    found = {}
    official = [each.code for each in lookups.procedures(tx) if not each.local]
    for entry in directories.several(tx, "procedures", official):
        code = entry.details.get("site_code", "")
        for words in (entry.details.get("site", ""), entry.details.get("area", "")):
            codes = by_name.get(search_key(words), set())
            if not code and len(codes) == 1:
                code = next(iter(codes))
        if code:
            found[entry.code] = code
    return found
