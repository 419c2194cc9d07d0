"""What doctors have before them: studies to read, one study, and how far two readers agree. Reads only."""
