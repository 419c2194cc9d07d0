"""«Аппараты»: the registry of modalities, and what their messages teach."""
