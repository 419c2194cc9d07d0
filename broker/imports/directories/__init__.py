"""Directories (dictionaries of codes, lists of doctors) from the files that registers export.

`kinds` knows the kinds and the names of their columns; `file` reads rows of text under these columns; `row` makes an
entry of each, or says why it is refused; `choice` picks the procedures that the desk offers.
"""
