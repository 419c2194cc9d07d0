"""The only place with SQL: one embedded SQLite database, one writer, many readers."""
