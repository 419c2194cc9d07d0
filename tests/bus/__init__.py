"""Tests of the region's side."""
