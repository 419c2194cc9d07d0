"""Use cases of opinions: what clinics ask one another about a study that is made and reported."""
