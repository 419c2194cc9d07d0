"""Opinions: what clinics ask one another about a study that is made and reported. Values only."""
