"""Tables of what was made: performed steps, images and reports in the archive, doses, external studies."""
