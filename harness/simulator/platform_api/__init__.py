"""The customer's side: OAuth, conversations, counts."""
