"""What a run is pointed at, under which terms, and what may be asked of it."""
