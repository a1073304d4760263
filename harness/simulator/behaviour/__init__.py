"""What bots and agents do."""
