"""The record of every session this harness may have opened, written before it is opened.

One SQLite file per process. ``ledger`` is the file and the verbs of the running process, ``reader``
reads files whatever their state, ``runs`` finds the runs that have them, ``tokens`` makes the
guests' tokens so that they can be made again.
"""
