"""The mathematics behind drift, comparison, capacity and planning: numbers in, verdicts out."""
