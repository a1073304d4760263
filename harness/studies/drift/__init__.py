"""Does a long run get worse as it goes on?"""
