"""The command line: one module per command, exit codes in one file."""
