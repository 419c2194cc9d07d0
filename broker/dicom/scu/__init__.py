"""Where we are the client: C-ECHO, and asking an archive what has arrived (Study Root C-FIND)."""
