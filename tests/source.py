"""The package's own code, parsed once for all tests of what may stand in it."""

import ast
import gc
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import harness

HARNESS = Path(harness.__file__).parent


@cache
def modules() -> Mapping[str, tuple[ast.AST, ...]]:
    """All nodes of each module, as ``ast.walk`` gives them, by its path in the package.

    They stay until the process ends, so no search for garbage is to look at them again.
    """
    gc.disable()
    try:
        return {
            str(path.relative_to(HARNESS)): tuple(ast.walk(ast.parse(path.read_text())))
            for path in sorted(HARNESS.rglob("*.py"))
        }
    finally:
        gc.freeze()
        gc.enable()
