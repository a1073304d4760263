"""What a run leaves behind, told to people and to machines; always made from its directory."""
