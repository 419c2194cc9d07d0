"""What modalities store here by C-STORE: structured reports and documents, no images."""
