"""Load and soak tests for the Genesys Cloud Web Messaging Guest API.

Locustfiles import :mod:`harness.load` and nothing else. The command line is :mod:`harness.cli`.
"""

__version__ = "0.2.0"
