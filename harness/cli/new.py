"""Write a commented locustfile to start from, or a conversation script if the name ends in .yaml.
Both run against the embedded simulator as they are. Existing files are never replaced.

examples:
  harness new shop
  harness new shop.yaml
  harness new night --from soak
"""

from pathlib import Path

from harness.cli.parsing import Command, Namespace, argument, option
from harness.errors import ConfigError, ExitCode
from harness.supervise.parameters import SCRIPTS, write_new


def run(args: Namespace) -> int:
    """Write it, and say how it is run."""
    suffix = Path(args.name).suffix
    if suffix not in ("", ".py", *SCRIPTS):
        raise ConfigError(
            f"expected a name such as shop, shop.py or shop.yaml, got {args.name!r}: nothing runs "
            f"a {suffix} file"
        )
    path = write_new(args.name, args.like)
    print(f"wrote {path}; try it: harness run {path}")
    return ExitCode.PASS


COMMAND = Command(
    run,
    argument("NAME", "file to write: shop (shop.py) or shop.yaml"),
    option("--from READY", "copy a ready locustfile, such as load", name="like"),
)
