"""Structured reports (PS3.3 C.17, PS3.16): from datasets to values."""
