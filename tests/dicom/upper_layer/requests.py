"""Requests for an association."""

from __future__ import annotations

from typing import Any

from pydicom.uid import UID
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    MaximumLengthNotification,
)
from pynetdicom.presentation import build_context

from broker.dicom import services
from broker.dicom.upper_layer.negotiation import Negotiator

WORKLIST = "1.2.840.10008.5.1.4.31"


MPPS = "1.2.840.10008.3.1.2.3.3"


def request(*contexts: tuple[str, list[str]], **changes: Any) -> bytes:
    """Encode an association request."""
    asked = A_ASSOCIATE()
    asked.application_context_name = UID(changes.get("application", "1.2.840.10008.3.1.1.1"))
    asked.calling_ae_title = changes.get("calling", "XRAY_14")
    asked.called_ae_title = changes.get("called", "WORKLIST")
    length = MaximumLengthNotification()
    length.maximum_length_received = changes.get("most", 16384)
    uid = ImplementationClassUIDNotification()
    uid.implementation_class_uid = UID("1.2.3")
    asked.user_information = [length, uid, *changes.get("more", [])]
    proposed = []
    for number, (abstract, syntaxes) in enumerate(contexts):
        context = build_context(abstract, syntaxes)
        context.context_id = 2 * number + 1
        proposed.append(context)
    asked.presentation_context_definition_list = proposed
    encoded = A_ASSOCIATE_RQ()
    encoded.from_primitive(asked)
    return bytes(encoded.encode())


def negotiator() -> Negotiator:
    return Negotiator(
        services.SOP_CLASSES,
        services.TRANSFER_SYNTAXES,
        65536,
        services.IMPLEMENTATION_CLASS_UID,
        services.IMPLEMENTATION_VERSION_NAME,
    )


IMPLICIT, EXPLICIT, DEFLATED, BIG = (f"1.2.840.10008.1.2{end}" for end in ("", ".1", ".1.99", ".2"))
