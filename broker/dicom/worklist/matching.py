"""The matching rules of PS3.4 C.2.2.2 as pure functions.

A key that cannot be understood raises MalformedKey: the answer is then a refusal (A900), never a wider list.
"""

from __future__ import annotations

import re

from broker.dicom.codec.dates import MalformedKey
from broker.dicom.worklist.wildcards import wildcard

# PS3.5 table 6.2-1: the longest value, in characters.
LENGTHS = {"AE": 16, "CS": 16, "SH": 16, "LO": 64, "UI": 64, "ST": 1024, "LT": 10240, "PN": 64}
_CODE = re.compile(r"[A-Z0-9 _*?]*")
_UID = re.compile(r"[0-9.]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def checked(key: str, vr: str, keyword: str) -> str:
    """Return a key as it is compared, or raise MalformedKey if its VR cannot hold it (PS3.5 6.2).

    `key` has no blanks around it; a list of UID is joined by backslashes.
    """
    if vr == "UI":
        for uid in key.split("\\"):
            if not _UID.fullmatch(uid) or len(uid) > LENGTHS["UI"]:
                raise MalformedKey(keyword, "not a UID")
        return key
    if vr not in ("ST", "LT") and _CONTROL.search(key):
        raise MalformedKey(keyword, "control characters")
    if vr == "CS":
        key = key.upper()  # PS3.5 6.2 knows capitals only; `dx` can mean nothing else
        if not _CODE.fullmatch(key):
            raise MalformedKey(keyword, "letters that a code may not have")
    parts = key.split("=") if vr == "PN" else [key]
    if vr == "PN" and (len(parts) > 3 or any(part.count("^") > 4 for part in parts)):
        raise MalformedKey(keyword, "too many components")
    longest = LENGTHS.get(vr)
    if longest is not None and any(len(part) > longest for part in parts):
        raise MalformedKey(keyword, f"longer than {longest} characters")
    return key


def is_universal(key: str) -> bool:
    """Return True if a key matches anything (PS3.4 C.2.2.2.3; a single `*` is the same)."""
    return key.strip(" \0") in ("", "*")


def text(key: str, value: str) -> bool:
    """Match single value or wildcard; a stored empty value fails every key that is not universal."""
    if is_universal(key):
        return True
    if not value or set(key.strip()) == {"?"}:  # a device that cannot write the letters; not a wildcard
        return False
    if "*" in key or "?" in key:
        return wildcard(key.strip(), value)
    return key.strip() == value
