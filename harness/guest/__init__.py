"""One simulated guest: protocol, transport, ledger and recorder brought together."""
