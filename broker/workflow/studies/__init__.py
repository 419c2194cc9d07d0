"""Use cases of what was made: performed steps, images, stored documents, doses, results of other clinics."""
