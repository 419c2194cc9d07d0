"""Use cases of what was made: performed steps, images, reports, results of other clinics."""
