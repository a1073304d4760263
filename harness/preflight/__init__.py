"""Everything that can be known before a run: the deployment, the way to it, this machine."""
