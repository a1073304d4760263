"""Scripts read from files: every error names file, line and key before anything is sent.

YAML is read with the line of each value: PyYAML's safe loader alone forgets lines, and takes the
last of two equal keys without a word.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from harness.errors import ConfigError
from harness.foreign import check_file, read_text
from harness.limits import MAX_ATTRIBUTE_BYTES, MAX_FILE_BYTES, MAX_TEXT_BYTES
from harness.workload.data import Feeder, Row, Table, read_table
from harness.workload.script.model import (
    ACTIONS,
    COLUMN,
    FeederFile,
    Scenario,
    Script,
    Step,
    StepKind,
    TextSet,
    check_placeholders,
    columns_in,
    render,
)

KeyPath = tuple[str | int, ...]

NULL_TAG = "tag:yaml.org,2002:null"
PLAIN_TAGS = {
    f"tag:yaml.org,2002:{kind}"
    for kind in ("str", "null", "bool", "int", "float", "timestamp", "merge", "value")
}
MAX_CHARACTERS = 1_000_000
# Aliases of aliases can make a short file huge.
MAX_VALUES = 100_000
MAX_BRACKETS = 100


class _Loader(yaml.SafeLoader):
    """Refuses nested brackets where they begin.

    The scanner looks at every open bracket again for each of its tokens: seconds for a thousand.
    """

    def fetch_flow_collection_start(self, token: type[yaml.Token]) -> None:
        if self.flow_level >= MAX_BRACKETS:
            raise RecursionError
        super().fetch_flow_collection_start(token)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lined:
    """A document's value, and the line (from 1) of each path in it. ``name`` is its file's."""

    name: str
    value: Any
    lines: dict[KeyPath, int]

    def place(self, *path: str | int) -> str:
        """The file, and the line of a path or of the nearest thing around it."""
        around = (path[:end] for end in range(len(path), -1, -1))
        return f"{self.name}, line {next((self.lines[p] for p in around if p in self.lines), 1)}"


def load_lined(text: str, *, name: str) -> Lined:
    """One YAML document. ConfigError names file and line."""
    if len(text) > MAX_CHARACTERS:
        raise ConfigError(f"{name}: longer than {MAX_CHARACTERS:,} characters")
    try:
        root = yaml.compose(text, Loader=_Loader)
        if root is None:
            raise ConfigError(f"{name}: empty")
        lines: dict[KeyPath, int] = {}
        return Lined(name=name, value=_plain(root, (), lines, name), lines=lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = name if mark is None else f"{name}, line {mark.line + 1}"
        raise ConfigError(f"{place}: not YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: not YAML: {str(error).splitlines()[0]}") from None
    except RecursionError:
        raise ConfigError(f"{name}: nested too deeply") from None


def _plain(node: yaml.Node, path: KeyPath, lines: dict[KeyPath, int], name: str) -> Any:
    lines[path] = node.start_mark.line + 1
    if len(lines) > MAX_VALUES:
        raise ConfigError(f"{name}: more than {MAX_VALUES:,} values")
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*path, i), lines, name) for i, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigError(f"{name}, line {line}: expected a plain key")
            key = _text(key_node, name)
            if key in mapping:
                raise ConfigError(f"{name}, line {line}: key '{key}' is there twice")
            mapping[key] = _plain(value_node, (*path, key), lines, name)
            lines[(*path, key)] = line
        return mapping
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


OWN_ATTRIBUTE_BYTES = 64
"""Room for the run's id and the guest's name, which a run adds to find its conversations again."""
MAX_STEPS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A script that is fit to be played."""

    script: Script
    folder: Path
    """that the script's own paths count from"""
    feeder: Feeder | None
    """of the rows that its guests have, if any"""
    texts: Mapping[str, tuple[str, ...]]
    """its sets of texts by name"""


def read_script(path: Path) -> Loaded:
    """A script, its feeder's rows and its sets of texts. ConfigError names file, line and key."""
    folder = path.parent
    lined = load_lined(read_text(path), name=str(path))
    script = _validated(lined)
    table = feeder = None
    if script.feeder is not None:
        try:
            table = read_table(folder / script.feeder.file)
        except ConfigError as error:
            raise ConfigError(f"{lined.place('feeder')}, feeder: {error}") from None
        feeder = Feeder(table=table, mode=script.feeder.mode)
    sets = _sets(script, lined, folder)
    check_texts(script, lined, Values(table, sets))
    check_files(script, lined, folder, table)
    return Loaded(script=script, folder=folder, feeder=feeder, texts=sets)


def _sets(script: Script, lined: Lined, folder: Path) -> dict[str, tuple[str, ...]]:
    sets = {}
    for key, one in script.texts.items():
        try:
            sets[key] = one.read(folder)
        except ConfigError as error:
            raise ConfigError(f"{lined.place('texts', key)}, {key}: {error}") from None
    return sets


@dataclass(frozen=True, slots=True)
class Values:
    """What may stand for a name in double braces: a column's values, or a set of texts."""

    table: Table | None
    sets: Mapping[str, tuple[str, ...]]

    def sizes(self, text: str, place: str, *, pattern: bool = False) -> tuple[int, int]:
        """UTF-8 bytes of a text with the shortest and the longest values. Raises ConfigError."""
        try:
            check_placeholders(text, self.names, pattern=pattern)
        except ValueError as error:
            raise ConfigError(f"{place}: {error}") from None
        least = most = len(COLUMN.sub("", text).encode())
        for name in COLUMN.findall(text):
            low, high = self._sizes_of(name, place)
            least, most = least + low, most + high
        return least, most

    @property
    def names(self) -> frozenset[str]:
        columns = () if self.table is None else self.table.columns
        return frozenset(columns) | self.sets.keys()

    def _sizes_of(self, name: str, place: str) -> tuple[int, int]:
        table = self.table
        if name in self.sets:
            if table is not None and name in table.columns:
                raise ConfigError(f"{place}: {name!r} is both a column of {table.name} and a set")
            sizes = [len(one.encode()) for one in self.sets[name]]
            return min(sizes), max(sizes)
        if table is None:
            raise ConfigError(f"{place}: {{{{{name}}}}} needs a feeder with that column")
        if name not in table.columns:
            there = ", ".join(table.columns)
            raise ConfigError(f"{place}: {table.name} has no column '{name}'; it has: {there}")
        return table.sizes(name)


def _validated(lined: Lined) -> Script:
    if not isinstance(lined.value, dict):
        raise ConfigError(f"{lined.name}, line 1: expected keys such as scenarios")
    try:
        return Script.model_validate(lined.value)
    except ValidationError as error:
        raise ConfigError(_sentence(error, lined)) from None
    except RecursionError:
        raise ConfigError(f"{lined.name}: nested too deeply") from None


def _sentence(error: ValidationError, lined: Lined) -> str:
    """The first error, unknown keys before others: they are what the others come from."""
    first = sorted(error.errors(), key=lambda one: one["type"] != "extra_forbidden")[0]
    path: list[str | int] = []
    for part in first["loc"]:
        # A list in the place of a mapping was read as its steps: that part is not in the file.
        listed = part == "steps" and isinstance(_at(lined.value, path), list)
        if part != "[key]" and not listed:
            path.append(part)
    place = lined.place(*path)
    key = next((str(part) for part in reversed(path) if isinstance(part, str)), "")
    match first["type"]:
        case "extra_forbidden":
            inside = len(path) > 1 and isinstance(path[-2], int)
            there = ACTIONS if inside else f"keys here: {', '.join(_keys(path))}"
            return f"{place}: unknown key '{key}'; {there}"
        case "missing":
            return f"{place}: '{key}' is missing"
        case "too_short":
            return f"{place}, {key}: empty"
        case "model_type":
            return f"{place}, {key}: expected {'a step' if isinstance(path[-1], int) else 'keys'}"
    what = str(first["msg"]).removeprefix("Value error, ")
    return f"{place}, {key}: {what[:1].lower()}{what[1:]}" if key else f"{place}: {what}"


def _keys(path: Sequence[str | int]) -> list[str]:
    """Keys of the mapping in which the last part of a path stands."""
    models: dict[str | int, type[BaseModel]] = {
        "scenarios": Scenario, "feeder": FeederFile, "texts": TextSet
    }  # fmt: skip
    return list(models.get(path[0], Script).model_fields)


def _at(value: Any, path: Sequence[str | int]) -> Any:
    """What a path leads to, None when it leads nowhere."""
    for part in path:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def check_texts(script: Script, lined: Lined, values: Values) -> None:
    """Columns exist, and texts and attributes keep the service's limits in every row."""
    for scenario, line, step in _steps(script, lined):
        place = f"{line}, {step.kind}"
        if step.kind is StepKind.ATTACH and columns_in(step.text) & values.sets.keys():
            raise ConfigError(f"{place}: a set of texts is no file")
        matching = step.kind is StepKind.WAIT_MATCHING
        least, most = values.sizes(step.text, place, pattern=matching)
        if step.kind in (StepKind.SAY, StepKind.CHOOSE):
            if most > MAX_TEXT_BYTES:
                raise ConfigError(f"{place}: {most} bytes; the service takes {MAX_TEXT_BYTES}")
            if not least:
                raise ConfigError(f"{place}: empty in a row of the data")
        _check_attributes(script.attributes_of(scenario, step), values, line)
    for key, whole in script.scenarios.items():
        many = sum(_length(step) for step in whole.steps)
        if many > MAX_STEPS:
            line = lined.place(*_root(lined, key))
            raise ConfigError(f"{line}: {many:,} steps with all repeats; at most {MAX_STEPS:,}")


def _steps(script: Script, lined: Lined) -> Iterator[tuple[str, str, Step]]:
    """Each step with the name of its scenario, and with its file and line."""
    for key, scenario in script.scenarios.items():
        for path, step in _placed(scenario.steps, _root(lined, key)):
            yield key, lined.place(*path, str(step.kind)), step


def _placed(
    steps: tuple[Step, ...], root: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], Step]]:
    for i, step in enumerate(steps):
        yield (*root, i), step
        if step.steps:
            yield from _placed(step.steps, (*root, i, "steps"))


def _length(step: Step) -> int:
    inner = sum(_length(part) for part in step.steps or ())
    return 1 if step.repeat is None else step.repeat * inner


def check_files(script: Script, lined: Lined, folder: Path, table: Table | None) -> None:
    """Files to attach are there, in every row, and the service takes their size."""
    for _, line, step in _steps(script, lined):
        if step.kind is not StepKind.ATTACH:
            continue
        rows: Iterable[Row] = ({},)
        if table is not None and columns_in(step.text):
            rows = map(table.row, range(len(table.rows)))
        for file in dict.fromkeys(folder / render(step.text, row) for row in rows):
            check_file(file, f"{line}, {step.kind}: there is no file {file}")
            if file.stat().st_size > MAX_FILE_BYTES:
                raise ConfigError(
                    f"{line}, {step.kind}: {file} has {file.stat().st_size:,} bytes; the service "
                    f"takes {MAX_FILE_BYTES:,}"
                )


def _root(lined: Lined, scenario: str) -> tuple[str | int, ...]:
    """The path of a scenario's list of steps."""
    root: tuple[str | int, ...] = ("scenarios", scenario)
    return (*root, "steps") if (*root, "steps") in lined.lines else root


def _check_attributes(attributes: Mapping[str, str], values: Values, line: str) -> None:
    for key in attributes:
        if COLUMN.search(key):
            raise ConfigError(f"{line}, attributes: {key!r}: only values are filled from the data")
    size = sum(
        len(key.encode()) + values.sizes(value, f"{line}, attributes")[1]
        for key, value in attributes.items()
    )
    limit = MAX_ATTRIBUTE_BYTES - OWN_ATTRIBUTE_BYTES
    if size > limit:
        raise ConfigError(
            f"{line}, attributes: {size} bytes; the service takes {MAX_ATTRIBUTE_BYTES}, of which "
            f"{OWN_ATTRIBUTE_BYTES} are kept for the run's own"
        )
