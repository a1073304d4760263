"""From a run's files to its figures to its verdict."""
