"""Opinions that clinics ask of one another, as the screens read them."""
