"""The record of every session this harness may have opened, written before it is opened.

One SQLite file per process. ``store`` is the file, ``ledger`` the verbs of the running process,
``reading`` reads one file whatever its state, ``leftovers`` reads all files of a run, ``tokens``
makes the guests' tokens so that they can be made again.
"""
