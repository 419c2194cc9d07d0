"""Directories (dictionaries of codes, lists of doctors) as they come from files of registers.

`commands` are what a person calls; `file` reads rows of texts under the columns that `kinds` knows; `row` makes an
entry of one, or says why it is none. They are replaced by `workflow.directories`, and stand in `store.directories`.
"""
