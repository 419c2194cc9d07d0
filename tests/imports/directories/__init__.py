"""Tests of the import of directories."""
