"""Several processes as one run: handshake, leases, replication, drain."""
