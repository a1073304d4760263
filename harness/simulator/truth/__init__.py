"""What really happened, for tests and reports to be held to."""
