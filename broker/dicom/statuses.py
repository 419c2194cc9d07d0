"""DIMSE statuses by name (PS3.4 C.4.1, F.7, K.4.1; PS3.7 Annex C)."""

from __future__ import annotations

from enum import IntEnum

from pydicom.dataset import Dataset
from pydicom.tag import BaseTag


class Status(IntEnum):
    """Status (0000,0900) of a response."""

    SUCCESS = 0x0000
    ATTRIBUTES_NOT_SUPPORTED = 0x0001  # a warning: requested optional attributes are not supported (PS3.4 F.8.2.1.4)
    PENDING = 0xFF00
    PENDING_WARNING = 0xFF01  # a match, but some optional key was not supported (PS3.4 K.4.1.1.4)
    CANCEL = 0xFE00
    OUT_OF_RESOURCES = 0xA700
    IDENTIFIER_DOES_NOT_MATCH = 0xA900
    UNABLE_TO_PROCESS = 0xC000
    NO_SUCH_ATTRIBUTE = 0x0105
    INVALID_ATTRIBUTE_VALUE = 0x0106
    PROCESSING_FAILURE = 0x0110
    DUPLICATE_SOP_INSTANCE = 0x0111
    NO_SUCH_SOP_INSTANCE = 0x0112
    INVALID_SOP_INSTANCE = 0x0117
    NO_SUCH_SOP_CLASS = 0x0118
    CLASS_INSTANCE_CONFLICT = 0x0119
    MISSING_ATTRIBUTE = 0x0120
    MISSING_ATTRIBUTE_VALUE = 0x0121
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    UNRECOGNISED_OPERATION = 0x0211
    RESOURCE_LIMITATION = 0x0213


# PS3.4 F.7.2.2.2: "Performed Procedure Step Object may no longer be updated", the Error ID beside 0110.
MAY_NO_LONGER_BE_UPDATED = 0xA710


def status(
    code: Status,
    comment: str = "",
    offending: BaseTag | None = None,
    error_id: int | None = None,
    identifier: BaseTag | None = None,
) -> Dataset:
    """Return a status with what explains it; the Error Comment is cut to 64 characters (LO).

    The attribute at fault is the Offending Element in a C service (PS3.7 C.4.2) and stands in the Attribute Identifier
    List, `identifier`, in an N service (PS3.7 C.5.13).
    """
    ds = Dataset()
    ds.Status = int(code)
    if comment:
        ds.ErrorComment = comment[:64]
    if offending is not None:
        ds.OffendingElement = [offending]
    if identifier is not None:
        ds.AttributeIdentifierList = [identifier]
    if error_id is not None:
        ds.ErrorID = error_id
    return ds
