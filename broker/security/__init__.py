"""Who may do what: permissions, passwords, sessions, and the throttle against guessing."""
