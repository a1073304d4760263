"""How much load can this machine make?"""
