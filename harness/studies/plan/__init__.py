"""From expected traffic to a test: guests at once, agents, machines, commands."""
