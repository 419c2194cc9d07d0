"""Use cases of clients of our FHIR API: register, renew the token, disable. Only a hash of the token is stored."""

from __future__ import annotations

import re
import uuid

from broker.domain.actors import Actor
from broker.domain.audit import AuditAction
from broker.domain.errors import Duplicate, Invalid, NotFound
from broker.domain.patients import identifiers
from broker.security.permissions import Permission, permit
from broker.security.sessions import token_hash
from broker.store.database import Tx
from broker.store.tables import audit, clients
from broker.workflow.referrals.incoming_referrals import BUS

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,31}")


def add_client(tx: Tx, name: str, organisation: str, actor: Actor, *, send_to_bus: bool = False) -> str:
    """Register a client; return its token, which is not stored. `organisation` is a GUID, empty: this clinic.

    Raise Invalid, Duplicate, Forbidden.
    """
    problems = {}
    if not _NAME.fullmatch(name) or name == BUS:
        problems["name"] = "must be 2 to 32 small Latin letters, digits, dots or dashes, and not bus"
    if organisation and not identifiers.is_guid(organisation):
        problems["organisation"] = "must be a GUID"
    if organisation and send_to_bus:
        problems["send_to_bus"] = "only this clinic's own orders can be sent to the region for it"
    if problems:
        raise Invalid(problems)
    token = str(uuid.uuid4())
    permit(tx, actor, Permission.MANAGE)
    if clients.get(tx, name):
        raise Duplicate(f"client {name}")
    clients.add(tx, name, token_hash(token), organisation, send_to_bus=send_to_bus)
    audit.write(tx, actor, AuditAction.CLIENT_ADD, client=name, organisation=organisation, send_to_bus=send_to_bus)
    return token


def renew_token(tx: Tx, name: str, actor: Actor) -> str:
    """Replace a client's token and return the new one; the old one is void at once. Raise NotFound, Forbidden."""
    token = str(uuid.uuid4())
    permit(tx, actor, Permission.MANAGE)
    _require_client(tx, name)
    clients.set_token(tx, name, token_hash(token))
    audit.write(tx, actor, AuditAction.CLIENT_TOKEN, client=name)
    return token


def disable_client(tx: Tx, name: str, actor: Actor, *, disabled: bool = True) -> None:
    """Refuse a client's calls from now on, or accept them again. Raise NotFound, Forbidden."""
    permit(tx, actor, Permission.MANAGE)
    _require_client(tx, name)
    clients.set_disabled(tx, name, disabled)
    audit.write(tx, actor, AuditAction.CLIENT_DISABLE if disabled else AuditAction.CLIENT_ENABLE, client=name)


def _require_client(tx: Tx, name: str) -> None:
    if clients.get(tx, name) is None:
        raise NotFound(f"client {name}")
