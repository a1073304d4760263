"""The record of every session this harness may have opened, written before it is opened.

One SQLite file per process. ``ledger`` writes the file of the running process, and derives the
guests' tokens; ``reader`` reads files in any state; ``runs`` finds the runs that have them.
"""
