"""Whether what a real deployment sent is what this harness knows: frame by frame, and in order."""
