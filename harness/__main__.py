"""``python -m harness`` is the same as the console script ``harness``."""

from harness.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
