"""The record of every session this harness may have opened, written before it is opened.

One SQLite file per process. ``ledger`` is the file, the verbs of the running process, and the
guests' tokens, which can be made again; ``reader`` reads files whatever their state; ``runs`` finds
the runs that have them.
"""
