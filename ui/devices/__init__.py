"""«Аппараты»: the registry of modalities, and advice from their messages."""
