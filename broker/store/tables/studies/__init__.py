"""Tables of what was made: performed steps, images in the archive, reports, external studies."""
