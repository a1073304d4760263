"""Measuring: what is timed, how samples become histograms, and how those reach the disk."""
