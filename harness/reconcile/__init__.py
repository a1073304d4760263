"""After a run: end what it left behind, and compare its record with the service's."""
