"""The modality's side: worklist, performed procedure steps, verification, and the archive."""
