"""YAML read into mappings, lists, texts and None, with the line of each of them.

PyYAML's safe loader alone forgets lines and takes the last of two equal keys without a word.
"""

from dataclasses import dataclass
from typing import Any

import yaml

from harness.errors import ConfigError

Path = tuple[str | int, ...]

NULL_TAG = "tag:yaml.org,2002:null"
PLAIN_TAGS = {
    f"tag:yaml.org,2002:{kind}"
    for kind in ("str", "null", "bool", "int", "float", "timestamp", "merge", "value")
}
MAX_CHARACTERS = 1_000_000
# Aliases of aliases can make a short file huge.
MAX_VALUES = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Lined:
    """A document's value, and the line (from 1) of each path in it."""

    value: Any
    lines: dict[Path, int]

    def line(self, path: Path) -> int:
        """The line of a path, or of the nearest thing around it."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.lines:
                return self.lines[path[:end]]
        return 1


def load_lined(text: str, *, name: str) -> Lined:
    """One YAML document. ConfigError names file and line."""
    if len(text) > MAX_CHARACTERS:
        raise ConfigError(f"{name}: longer than {MAX_CHARACTERS:,} characters")
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is None:
            raise ConfigError(f"{name}: empty")
        lines: dict[Path, int] = {}
        return Lined(value=_plain(root, (), lines, name), lines=lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = name if mark is None else f"{name}, line {mark.line + 1}"
        raise ConfigError(f"{place}: not YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: not YAML: {str(error).splitlines()[0]}") from None
    except RecursionError:
        raise ConfigError(f"{name}: nested too deeply") from None


def _plain(node: yaml.Node, path: Path, lines: dict[Path, int], name: str) -> Any:
    lines[path] = node.start_mark.line + 1
    if len(lines) > MAX_VALUES:
        raise ConfigError(f"{name}: more than {MAX_VALUES:,} values")
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*path, i), lines, name) for i, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigError(f"{name}, line {line}: expected a plain key")
            key = _text(key_node, name)
            if key in found:
                raise ConfigError(f"{name}, line {line}: key '{key}' is there twice")
            found[key] = _plain(value_node, (*path, key), lines, name)
            lines[(*path, key)] = line
        return found
    if node.tag not in PLAIN_TAGS:
        raise ConfigError(f"{name}, line {lines[path]}: {node.tag}: tags are not allowed here")
    # Everything else stays the text that was written: yes, 007 and 12:30 are what a guest may say.
    return None if node.tag == NULL_TAG else _text(node, name)


def _text(node: yaml.Node, name: str) -> str:
    """What is written; characters beyond the first 65,536 may be in two halves, as in JSON."""
    try:
        return str(node.value).encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        line = node.start_mark.line + 1
        raise ConfigError(f"{name}, line {line}: half a character (of two \\u escapes)") from None
