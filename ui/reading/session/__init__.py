"""Reading in a loop: the cases of a session, its page, and what is drawn on it."""
