"""Use cases of reading: opinions of one or two readers, the report and its versions, texts to begin with."""
