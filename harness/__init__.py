"""Load and soak tests for the Genesys Cloud Web Messaging Guest API.

Locustfiles import :mod:`harness.load` and nothing else. The command line is :mod:`harness.cli`.
"""

import sys

if sys.platform == "win32":
    raise SystemExit("error: the harness needs Linux or macOS. On Windows, use it in WSL.")

__version__ = "0.2.0"
