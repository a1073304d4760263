"""A recorded conversation (HAR) and the script made from it."""
