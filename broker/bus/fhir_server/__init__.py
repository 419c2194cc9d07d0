"""The bus from the side of whoever plays it: the practice bus, and the endpoint for a local МИС.

What may be asked of it (`requests`), what it demands and refuses (`fields` the table, `rules` the checks), and what
becomes of what is stored (`records`). The bus's client, whose judge this is, must not import it.
"""
