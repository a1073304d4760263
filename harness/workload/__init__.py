"""What guests do and when, as values: arrivals, think times, scripts and the data for them."""
