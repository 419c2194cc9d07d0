"""Rubbish, and the places of a referral where it may stand."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

texts = st.one_of(st.text(max_size=20), st.sampled_from(["\x00", "\ud800", "Patient/p1", "2026-13-45T99:99:99+99:99"]))


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.just(10**400), st.floats(allow_nan=False), texts, st.just("x" * 5000)
)


rubbish = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(st.text(max_size=5), st.sampled_from(["reference", "coding", "code", "value", "text", "system"])),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=8,
)


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List the paths to everything inside the referral."""
    keys = list(node) if isinstance(node, dict) else list(range(len(node))) if isinstance(node, list) else []
    return [(*path, key) for key in keys] + [found for key in keys for found in places(node[key], (*path, key))]


def holds(node: Any, key: Any) -> bool:
    return key in node if isinstance(node, dict) else isinstance(node, list) and key in range(len(node))
