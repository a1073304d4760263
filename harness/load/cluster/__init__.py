"""Several processes as one run: handshake, the files handed out, messages, replication."""
