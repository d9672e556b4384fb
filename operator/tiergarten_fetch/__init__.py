"""Fetch, verify and resume the files of a model; the program is `tiergarten-fetch`."""
