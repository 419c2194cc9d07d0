"""What a clinic has: its settings, devices and their advice, directories, usual procedures."""
