"""Tests of the practice bus."""
