"""The name of one process of a run, as a node: never used twice, whatever host and pid are.

A container that is restarted in place has the same host name and is process 1 again; two machines
may have one host name. All that is kept of a node, its ledger, measurements, copies and leases, is
kept under this name, so two lives must not share it.
"""

import os
import platform
import secrets

import psutil

HOST_CHARACTERS = 40
"""The name becomes part of file names."""


def new_node_name() -> str:
    """Host and pid, for people; when the process was born and a nonce, so that it is the only one.

    Letters, digits, dots, dashes and underscores.
    """
    host = plain(platform.node() or "host")[:HOST_CHARACTERS]
    born = int(psutil.Process().create_time())
    return f"{host}-{os.getpid()}-{born:x}-{secrets.token_hex(4)}"


def plain(name: str) -> str:
    """A name, fit for a file."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in name)
