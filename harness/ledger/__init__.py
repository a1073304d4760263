"""The record of every session this harness may have opened, written before it is opened.

One SQLite file per process. ``store`` is the file, ``ledger`` the verbs of the running process,
``leftovers`` the read side over all files of a run.
"""
