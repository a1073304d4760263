"""What can be seen while a run is going on."""
