"""Every Russian word of the screens that is not drawn in one place only."""
