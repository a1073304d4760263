"""The results of a run, rendered for people and for programs, from its directory alone."""
