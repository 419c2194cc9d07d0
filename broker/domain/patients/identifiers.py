"""Identifiers: accession numbers, UIDs, СНИЛС, ЕНП. Pure; clock, counters and random numbers are arguments."""

from __future__ import annotations

import hashlib
import re
import uuid
from datetime import date, datetime

ACCESSION_NUMBER_LENGTH = 16  # Accession Number is SH, PS3.5 6.2
UID_LENGTH = 64  # PS3.5 9.1
_UID = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+")
# Blanks of every width, every dash, hyphen and minus (Unicode Pd and what looks like it), and what cannot be seen.
_NOT_DIGITS = re.compile(
    r"[\s\-\u00ad\u02d7\u058a\u05be\u1806\u180e\u200b-\u200f\u2010-\u2015\u2043\u2060-\u2064\u207b\u208b\u2212\u2500\u2501"
    r"\u2e3a\u2e3b\u301c\u3030\u30fc\ufe31\ufe32\ufe58\ufe63\ufeff\uff0d]+"
)
_GUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
INSURERS = "1.2.643.5.1.13.2.1.1.635"  # OID of the register of insurers; with ".CODE" it names one
_INSURER = re.compile(r"[0-9]{5}")
_LATIN = str.maketrans("АВЕКМНОРСТХ", "ABEKMHOPCTX")

# «б/н», «без номера», «нет», «н/д», as letters only.
_NO_CARD = frozenset({"бн", "безномера", "нет", "нд", "неизвестно", "none", "null", "na", "unknown"})


def accession_number(prefix: str, day: date, number: int) -> str:
    """Return an accession number: prefix, year and month, a dash, the counter of the month, e.g. «K2611-0094».

    Raise ValueError if it is longer than SH allows: modalities would truncate it.
    """
    text = f"{prefix}{day:%y%m}-{number:04d}"
    if len(text) > ACCESSION_NUMBER_LENGTH:
        raise ValueError(f"accession number {text} is longer than {ACCESSION_NUMBER_LENGTH} characters")
    return text


def new_uid(root: str, now: datetime, random_bits: int) -> str:
    """Return a new UID under the clinic's root, or under 2.25 (a UUID, PS3.5 B.2) without one.

    `random_bits` is a fresh random integer of at least 128 bits. Under a root the last part is the instant followed
    by ten random digits, so that neither a reinstallation nor a clock that is set back repeats a UID. Raise ValueError
    if the root is too long.
    """
    if not root:
        return f"2.25.{uuid.UUID(int=random_bits % 2**128, version=4).int}"
    text = f"{root}.{now:%Y%m%d%H%M%S}.{random_bits % 9_000_000_000 + 1_000_000_000}"
    if not valid_uid(text):
        raise ValueError(f"the root {root} makes no valid UID: {text}")
    return text


def uid_for(root: str, content: str) -> str:
    """Return a UID that is the same for the same content, under the clinic's root or under 2.25 without one."""
    number = int.from_bytes(hashlib.sha256(content.encode()).digest(), "big")
    return f"{root}.{number % 10**25}" if root else f"2.25.{uuid.UUID(int=number % 2**128, version=5).int}"


def valid_uid(uid: str) -> bool:
    """Return True if a UID is valid by PS3.5 9.1."""
    return len(uid) <= UID_LENGTH and _UID.fullmatch(uid) is not None


def digits(text: str) -> str:
    """Return a number as people type it, or paste it from a document, without blanks and dashes."""
    return _NOT_DIGITS.sub("", text)


def snils_problem(value: str) -> str:
    """Return what is wrong with a СНИЛС of digits: '', 'length', 'placeholder' or 'check_digit'.

    Pension Fund rule: weights 9 to 1 over nine digits, modulo 101, 100 counts as 0; numbers up to 001-001-998 have
    no check digits.
    """
    if len(value) != 11 or not value.isascii() or not value.isdigit():
        return "length"
    number, check = value[:9], int(value[9:])
    if is_placeholder(value):
        return "placeholder"
    if int(number) <= 1_001_998:
        return ""
    total = sum(int(digit) * (9 - place) for place, digit in enumerate(number)) % 101 % 100
    return "" if total == check else "check_digit"


def policy_problem(value: str) -> str:
    """Return what is wrong with an ЕНП (полис ОМС единого образца) of digits, by Luhn's check digit.

    '', 'length', 'placeholder' or 'check_digit'.
    """
    if len(value) != 16 or not value.isascii() or not value.isdigit():
        return "length"
    if is_placeholder(value):
        return "placeholder"
    total = 0
    for place, digit in enumerate(reversed(value)):
        doubled = int(digit) * (2 if place % 2 else 1)
        total += doubled - 9 if doubled > 9 else doubled
    return "" if total % 10 == 0 else "check_digit"


def insurer(text: str) -> str:
    """Return an insurer as it is stored: the code where one begins the text, or ends an OID of it; else the text.

    Codes of the register of the Compulsory Insurance Fund have five digits: region and number.
    """
    tidy = " ".join(text.split())
    known = tidy.removeprefix("urn:oid:").removeprefix(f"{INSURERS}.")
    code, _, name = known.partition(" ")
    return code if is_insurer_code(code) and not name[:1].isdigit() else tidy


def is_insurer_code(text: str) -> bool:
    """Return True for a code of the register of insurers."""
    return _INSURER.fullmatch(text) is not None


def is_placeholder(value: str) -> bool:
    """Return True for what people and programs write where there is no СНИЛС or ЕНП: one digit repeated."""
    return (len(value) == 11 and len(set(value[:9])) == 1) or (len(value) == 16 and len(set(value)) == 1)


def is_card_placeholder(value: str) -> bool:
    """Return True for what scripts and tables write where there is no card number: zeros, dashes, «б/н», «нет»."""
    letters = re.sub(r"[\W_]", "", value.casefold())
    return not letters.strip("0") or letters in _NO_CARD


def show_snils(value: str) -> str:
    """Return a СНИЛС in its usual form: 112-233-445 95."""
    return f"{value[:3]}-{value[3:6]}-{value[6:9]} {value[9:]}" if len(value) == 11 else value


def show_policy(value: str) -> str:
    """Return an ЕНП in groups of four: 7800 0000 1234 5670."""
    return " ".join(value[at : at + 4] for at in range(0, len(value), 4))


def is_guid(text: str) -> bool:
    """Return True for a GUID in its usual form, upper or lower case."""
    return bool(_GUID.fullmatch(text))


def icd10_code(typed: str) -> str:
    """Return an ICD-10 code as it is stored: in capitals, Cyrillic look-alikes as Latin letters."""
    return typed.upper().translate(_LATIN)
