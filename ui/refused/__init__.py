"""What was not imported from worklist files and tables."""
