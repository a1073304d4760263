"""How much load can this machine generate?"""
