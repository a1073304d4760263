"""Questions that take more than one verdict: capacity, drift, compare, plan, calibrate."""
