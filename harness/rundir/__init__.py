"""A run's directory: start file, intervals, the form of its record, requests to a live run."""
