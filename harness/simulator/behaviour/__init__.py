"""What bots and agents do, and what goes wrong on purpose."""
