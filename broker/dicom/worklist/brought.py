"""What an import brought of what a query asks for beyond the supported attributes (see `attributes`).

Pure. Private attributes are found by who reserved their block (PS3.5 7.8.1), whichever block that is in the item.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from broker.dicom.worklist.attributes import AnswerContext, imported
from broker.dicom.worklist.query import Part, WorklistQuery
from broker.store.tables.worklist import WorklistItem


def find(ds: Dataset, tag: BaseTag, creators: Mapping[BaseTag, str]) -> DataElement | None:
    """Return the element that a query means by a tag, or None; `creators` are those that the query names.

    A private tag without a creator, against the rules, means the one with exactly this tag.
    """
    if not tag.is_private:
        return ds.get(tag)
    creator = creators.get(creator_of(tag))
    if not creator:
        return ds.get(tag)
    for block in blocks(ds, tag.group):
        if str(ds[block].value or "").strip(" \0") == creator:
            return ds.get(BaseTag(tag.group << 16 | block.element << 8 | tag.element & 0xFF))
    return None


def creator_of(tag: BaseTag) -> BaseTag:
    """Return the tag that reserves a private attribute's block."""
    return BaseTag(tag.group << 16 | tag.element >> 8)


def blocks(ds: Dataset, group: int) -> Iterator[BaseTag]:
    """Yield the tags of a private group that reserve blocks."""
    return (tag for tag in ds.keys() if tag.group == group and 0x10 <= tag.element <= 0xFF)  # noqa: SIM118


def is_supported(asked: WorklistQuery, item: WorklistItem, context: AnswerContext) -> bool:
    """Return True if an item has whatever the query asks for, as key or to be returned (PS3.4 K.4.1.1.4)."""
    if asked.is_plain:
        return True
    if not _holds_all(asked.top, imported(item, context, in_step=False)):
        return False
    return asked.step is None or _holds_all(asked.step, imported(item, context, in_step=True))


def _holds_all(part: Part, ds: Dataset) -> bool:
    if any(find(ds, tag, part.creators) is None for tag in (*part.others, *part.brought)):
        return False
    # What is only to be returned of a sequence's item is optional where the sequence is.
    asked = (tag for tag, within in part.items.items() if has_keys(within))
    return all(find(ds, tag, part.creators) is not None for tag in asked)


def has_keys(part: Part) -> bool:
    """Return True if a sequence's item has keys that only imports have."""
    return bool(part.brought) or any(map(has_keys, part.items.values()))
