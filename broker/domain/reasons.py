"""Why a procedure step was discontinued: DICOM's codes (PS3.16 CID 9300, with CID 9301 for modalities, scheme DCM)."""

from __future__ import annotations

WRONG_ENTRY = "110514"  # the order that was begun is not the one whose patient lies there
