"""A study's card with its timeline, the list of studies, the label."""
