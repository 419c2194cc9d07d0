"""What is known of the calling devices: their registry in memory, samples of what they send, what these teach."""
