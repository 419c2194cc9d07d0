"""What breaks PS3.8 in a PDU's values: the same rules for what is read strictly and for what is written."""

from __future__ import annotations

import re
from collections.abc import Iterator

from broker.dicom.upper_layer.pdu import user_items
from broker.dicom.upper_layer.pdu.types import (
    COMMAND,
    LAST,
    Abort,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    DataTransfer,
    Pdu,
)
from broker.dicom.upper_layer.pdu.user_items import UserItem

_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+", re.ASCII)  # PS3.5 9.1
# PS3.8 table 9-21: the reasons of each source.
_REJECT_REASONS = {1: (1, 2, 3, 7), 2: (1, 2), 3: (1, 2)}
_ABORT_REASONS = {0: (0,), 2: (0, 1, 2, 4, 5, 6)}  # PS3.8 table 9-26
_ONCE = (user_items.MaximumLength, user_items.ImplementationClassUid)  # PS3.8 D.1, PS3.7 D.3.3.2


def is_uid(uid: str | None) -> bool:
    """Return True for a UID by PS3.5 9.1: at most 64 characters, components without leading zeros."""
    return uid is not None and len(uid) <= 64 and bool(_UID.fullmatch(uid))


def is_ae_title(title: str) -> bool:
    """Return True for 1 to 16 characters of the default repertoire, no backslash, no control character (PS3.5 6.2)."""
    return 0 < len(title) <= 16 and title.isascii() and title.isprintable() and "\\" not in title


def problems(pdu: Pdu) -> Iterator[str]:
    """Yield what breaks PS3.8 in a PDU's values; nothing where it conforms."""
    match pdu:
        case AssociateRequest() | AssociateAccept():
            yield from _associate(pdu)
        case AssociateReject(result, source, reason):
            if result not in (1, 2) or reason not in _REJECT_REASONS.get(source, ()):
                yield f"no A-ASSOCIATE-RJ has result {result}, source {source}, reason {reason}"
        case DataTransfer(values):
            if not values:
                yield "a P-DATA-TF without a value"
            for context_id, control, fragment in values:
                if not context_id & 1 or control & ~(COMMAND | LAST) or len(fragment) & 1:
                    yield "a presentation data value with an even context, an unknown control bit or an odd fragment"
        case Abort(source, reason):
            if reason not in _ABORT_REASONS.get(source, ()):
                yield f"no A-ABORT has source {source}, reason {reason}"
        case _:
            pass


def _associate(pdu: AssociateRequest | AssociateAccept) -> Iterator[str]:
    if not (is_ae_title(pdu.called_ae_title) and is_ae_title(pdu.calling_ae_title)):
        yield "an AE title that is not one"
    if not is_uid(pdu.application_context):
        yield "no application context"
    ids: list[int] = []
    if isinstance(pdu, AssociateRequest):
        for proposed in pdu.contexts:
            ids.append(proposed.id)
            if not is_uid(proposed.abstract_syntax) or not proposed.transfer_syntaxes:
                yield f"presentation context {proposed.id} without syntaxes"
            if not all(is_uid(each) for each in proposed.transfer_syntaxes):
                yield f"presentation context {proposed.id} with a transfer syntax that is not a UID"
    else:
        for answered in pdu.results:
            ids.append(answered.id)
            if answered.result > 4 or (answered.result == 0 and not is_uid(answered.transfer_syntax)):
                yield f"presentation context {answered.id} with result {answered.result}"
    if not ids or len(set(ids)) < len(ids) or any(not id & 1 for id in ids):
        yield "presentation contexts that are missing, doubled or of even numbers"
    for kind in _ONCE:
        if sum(isinstance(each, kind) for each in pdu.user_items) != 1:
            yield f"not one item {kind.__name__}"
    for item in pdu.user_items:
        yield from _user_item(item)


def _user_item(item: UserItem) -> Iterator[str]:
    uids: tuple[str, ...] = ()
    match item:
        case user_items.ImplementationClassUid(uid) | user_items.RoleSelection(uid, _, _):
            uids = (uid,)
        case user_items.ExtendedNegotiation(uid, _):
            uids = (uid,)
        case user_items.CommonExtendedNegotiation(uid, service, related):
            uids = (uid, service, *related)
        case user_items.ImplementationVersionName(name):
            if len(name) > 16:
                yield "an implementation version name of more than 16 characters"
        case user_items.UserIdentity(kind, _, primary, _):
            if not 1 <= kind <= 5 or not primary:
                yield f"a user identity of type {kind}"
        case _:
            pass
    if not all(is_uid(uid) for uid in uids):
        yield f"{type(item).__name__} with a UID that is not one"
