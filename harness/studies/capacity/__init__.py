"""How much does the service carry? A search over levels of load."""
