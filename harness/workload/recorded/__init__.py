"""What a browser or ``harness guest --record`` has recorded, and what can be made of it."""
