"""Modality Worklist (PS3.4 Annex K): the query, matching, the answers and their cache, and why an item is not seen."""
