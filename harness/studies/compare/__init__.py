"""Did anything get worse between two runs?"""
