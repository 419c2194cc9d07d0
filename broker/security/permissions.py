"""Who may do what: roles and their permissions.

Every use case calls `permit` inside its own transaction: a page that was opened before a sign-out cannot save after it.
"""

from __future__ import annotations

from enum import StrEnum

from broker.domain.actors import Actor, ActorKind, Role
from broker.domain.errors import Forbidden, SessionEnded
from broker.store.database import Tx
from broker.store.tables import accounts
from broker.store.tables.accounts import Account


class Permission(StrEnum):
    """What a use case requires of its actor."""

    VIEW = "view"
    REGISTER = "register"
    AMEND = "amend"
    CANCEL = "cancel"
    LINK = "link"
    MERGE = "merge"
    CLOSE = "close"
    RESEND = "resend"
    PERFORM = "perform"
    REPORT = "report"
    DOSE = "dose"  # type the effective dose of a study
    MANAGE = "manage"


P = Permission
PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.REGISTRAR: frozenset({P.VIEW, P.REGISTER, P.AMEND, P.CANCEL, P.LINK, P.MERGE, P.CLOSE, P.RESEND}),
    Role.TECHNOLOGIST: frozenset({P.VIEW, P.REGISTER, P.AMEND, P.LINK, P.CLOSE, P.DOSE}),
    Role.RADIOLOGIST: frozenset({P.VIEW, P.REPORT, P.DOSE}),
    Role.ADMINISTRATOR: frozenset({P.VIEW, P.RESEND, P.MANAGE}),
}


PERMISSIONS_OF_ACTOR_KIND: dict[ActorKind, frozenset[Permission]] = {
    ActorKind.PERSON: frozenset(),
    ActorKind.DEVICE: frozenset({P.PERFORM}),
    ActorKind.BUS: frozenset({P.REGISTER, P.CANCEL}),  # what incoming referrals need
    ActorKind.SYSTEM: frozenset(Permission),
}
del P


def may(actor: Actor, permission: Permission) -> bool:
    """Return True if an actor's kind or roles allow it; the screens show or hide their buttons by it."""
    allowed = PERMISSIONS_OF_ACTOR_KIND[actor.kind].union(*(PERMISSIONS[role] for role in actor.roles))
    return permission in allowed


def permit(tx: Tx, actor: Actor, permission: Permission) -> None:
    """Raise Forbidden or SessionEnded unless the actor may do this now; a person's session is looked up again."""
    if actor.session:
        account = accounts.session_account(tx, actor.session, tx.now)
        if account is None:
            raise SessionEnded
        actor = person(account, actor.session)
    if not may(actor, permission):
        raise Forbidden(f"{permission} by {actor.name}")


def person(account: Account, session: str) -> Actor:
    """Return the actor for an account; `session` is the hash of its session token, empty where there is none."""
    return Actor(ActorKind.PERSON, account.login, account.full_name, account.roles, session)
