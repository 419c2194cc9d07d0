"""Protocol data units (PS3.8 9.3) as values, and their bytes: `types`, `user_items`, `reader`, `writer`.

Pure functions under one law: what `reader.read` returns, `writer.write` writes so that it is read as the same value.
"""
