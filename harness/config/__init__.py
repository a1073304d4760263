"""What a run is pointed at and what it may do there: targets, windows, caps."""
