"""Runs that go on in processes of their own: starting them, watching them, ending them."""
