"""Worklist files (.wl) of other programs: how one is read, and a folder of them that is watched."""
