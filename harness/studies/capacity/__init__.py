"""How much load can the service carry? A search over levels of load."""
