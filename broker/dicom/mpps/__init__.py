"""Modality Performed Procedure Step (PS3.4 Annex F): N-CREATE, N-SET and N-GET."""
