"""Opinions that clinics ask of one another, as tables."""
