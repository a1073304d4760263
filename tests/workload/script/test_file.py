"""Bad scripts are refused before anything is sent, with file, line, key and reason."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from script_texts import parse_script

from harness.errors import ConfigError
from harness.workload.data import parse_table
from harness.workload.script.file import read_script
from harness.workload.script.model import StepKind

LINES = "scenarios:\n  A:\n"


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ("    - sya: hi\n", "line 3: unknown key 'sya'; actions: say, waitForReply"),
        ("    - fly\n", "line 3: unknown key 'fly'; actions: say"),
        ("    - join\n    - say: a\n      clear: true\n", "line 4, A: expected exactly one action"),
        ("    - say:\n", "line 3, A: say has no value"),
        ("    - say: a\n      within: 2s\n", "line 3, A: within goes with a wait, not with say"),
        (
            "    - drop\n    - think: 1s\n      attributes: {a: b}\n",
            "line 4, A: attributes go with",
        ),
        ("    - waitForReplyMatching: '('\n", "line 3, waitForReplyMatching: not a regular"),
        (
            "    - waitForReplyContaining: x\n      within: soon\n",
            "line 4, within: expected a duration such as .* got 'soon'",
        ),
        ("    - think: sometimes\n", r"line 3, think: .*'sometimes'; write 6s, uniform\("),
        ("    - idle: -3s\n", "line 3, idle: expected a duration"),
        ("    - repeat: 3\n", "line 3, A: repeat needs steps"),
        ("    - repeat: 0\n      steps: [join]\n", "line 3, repeat: input should be greater"),
        ("    - repeat: x\n      steps: [join]\n", "line 3, repeat: input should be a valid int"),
        ("    - join:\n      steps: [join]\n", "line 3, A: repeat needs steps, and steps need"),
        ("    - clear: maybe\n", "line 3, clear: "),
        ("    - say: {a: b}\n", "line 3, say: input should be a valid string"),
        ("    - [a]\n", "line 3, A: expected a step"),
        ("    - say: '{{x}}'\n", r"line 3, say: \{\{x\}\} needs a feeder with that column"),
        ("    - say: '{{Order No}}'\n", r"line 3, say: \{\{Order No\}\} names no column or set"),
        ("    - choose: 'a {{ order-id }}'\n", r"line 3, choose: \{\{ order-id \}\} names no"),
        ("    - waitForReplyContaining: '{{}}'\n", r"line 3, waitForReplyContaining: \{\{\}\} n"),
        ("    - waitForReplyMatching: 'a{{2}}'\n", r"waitForReplyMatching: \{\{2\}\} names no"),
        ("    - say: 'Hi {{name}, hi'\n", r"line 3, say: \{\{name\} is not closed by two"),
        (
            "    - say: a\n      attributes: {k: '{{größe}}'}\n",
            r"line 3, attributes: \{\{größe\}\} names no column or set",
        ),
        (
            "    - say: a\n      attributes: {'{{k}}': v}\n",
            r"line 3, attributes: '\{\{k\}\}': only values are filled",
        ),
        ("    - waitForReplyMatching: '(?i)x'\n", r"line 3, waitForReplyMatching: \(\?i\) is not"),
        ("    - waitForReply: x\n", "line 3, waitForReply: "),
        (f"    - say: {'x' * 4097}\n", "line 3, say: 4097 bytes; the service takes 4096"),
        (f"    - say: {'ü' * 2049}\n", "line 3, say: 4098 bytes"),
        (f"    - choose: {'x' * 4097}\n", "line 3, choose: 4097 bytes"),
        (
            f"    - say: a\n      attributes: {{key: {'v' * 2046}}}\n",
            "line 3, attributes: 2049 bytes; the service takes 2048",
        ),
        (
            "    - repeat: 9999\n      steps:\n        - repeat: 9999\n          steps: [join]\n",
            "99,980,001 steps with all repeats",
        ),
        ("    weight: -1\n    steps: [join]\n", "line 3, weight: input should be greater than 0"),
        (
            "    stepz: [join]\n",
            "line 3: unknown key 'stepz'; keys here: steps, weight, attributes",
        ),
        ("    weight: 2\n", "line 2: 'steps' is missing"),
        ("    []\n", "line 2, A: empty"),
        ("    hello\n", "line 2, A: expected keys"),
    ],
)
def test_bad_steps(steps: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=f"^shop.yaml, {reason}|^shop.yaml.*{reason}"):
        parse_script(LINES + steps, name="shop.yaml")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("- join\n", "line 1: expected keys such as scenarios"),
        ("scenarios: {}\n", "line 1, scenarios: empty"),
        ("within: 2s\n", "line 1: 'scenarios' is missing"),
        ("scenario: {}\n", "line 1: unknown key 'scenario'; keys here: scenarios, feeder"),
        ("scenarios: {A: [join]}\nwithin: soon\n", "line 2, within: expected a duration"),
        (
            "scenarios: {A: [join]}\nfeeder: {file: x, mode: some}\n",
            "line 2, mode: input should be 'sequential', 'random' or 'unique'",
        ),
        (
            f"scenarios: {{A: [join]}}\nattributes: {{a: {'v' * 3000}}}\n",
            "attributes: 3001 bytes",
        ),
    ],
)
def test_bad_files(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=f"^shop.yaml, .*{reason}|^shop.yaml, {reason}"):
        parse_script(text, name="shop.yaml")


def test_limits_hold_for_the_longest_row() -> None:
    script = LINES + "    - say: 'My order is {{order}}.'\n"
    parse_script(script, name="s", table=parse_table(f"order\n{'9' * 4083}\n", name="o"))
    with pytest.raises(ConfigError, match="line 3, say: 4097 bytes"):
        parse_script(script, name="s", table=parse_table(f"order\n1\n{'9' * 4084}\n", name="o"))
    with pytest.raises(ConfigError, match=r"line 3, say: o has no column 'order'; it has: name"):
        parse_script(script, name="s", table=parse_table("name\nAda\n", name="o"))


def test_a_column_in_other_braces_is_told() -> None:
    table = parse_table("name,no\nAnna,1\n", name="o")
    parse_script(LINES + "    - say: '${price} {name} {{{name}}}'\n", name="s", table=table)
    with pytest.raises(
        ConfigError, match=r"line 3, say: \$\{name\} would be sent as it is: write \{"
    ):
        parse_script(LINES + "    - say: 'Hi ${name}'\n", name="s", table=table)


def test_the_foreign_tools_origin_is_one() -> None:
    with pytest.raises(ConfigError, match="line 3, origin: "):
        parse_script('scenarios: {A: [join]}\nconfig:\n  origin: "a\\r\\nb: c"\n', name="s")


def test_a_text_that_is_empty_in_one_row_is_refused() -> None:
    table = parse_table("order,name\n1,Ada\n2,\n", name="o")
    parse_script(LINES + "    - say: '{{order}}{{name}}'\n", name="s", table=table)
    with pytest.raises(ConfigError, match="line 3, say: empty in a row of the data"):
        parse_script(LINES + "    - say: '{{name}}'\n", name="s", table=table)


def test_attributes_leave_room_for_those_of_the_run() -> None:
    script = "    - say: a\n      attributes: {{key: {}}}\n"
    parse_script(LINES + script.format("v" * 1981), name="s")
    with pytest.raises(ConfigError, match="1985 bytes; the service takes 2048, of which 64"):
        parse_script(LINES + script.format("v" * 1982), name="s")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{}", "line 4, q: expected either size or file"),
        ("{size: short, file: own.txt}", "line 4, q: expected either size or file"),
        ("{size: huge}", "line 4, size: input should be 'short', 'medium', 'long' or 'limit'"),
        ("{size: short, language: tlh}", "line 4, q: language: expected one of en, de"),
        ("{size: short, word: x}", "line 4: unknown key 'word'; keys here: size, language, file"),
        ("short", "line 4, q: expected keys"),
        ("{file: gone.txt}", r"line 4, q: .*gone\.txt: No such file"),
        ("{file: own.txt}", r"line 4, q: .*own\.txt, line 2: 5000 bytes"),
    ],
)
def test_bad_sets_of_texts(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "own.txt").write_text("a\n" + "x" * 5000)
    file = tmp_path / "shop.yaml"
    file.write_text(LINES + f"    - say: '{{{{q}}}}'\ntexts: {{q: {text}}}\n")
    with pytest.raises(ConfigError, match=reason):
        read_script(file)


def test_sets_of_texts_are_read_and_measured(tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("Grüße\nHi\n")
    (tmp_path / "q.csv").write_text("q\n1\n")
    file = tmp_path / "shop.yaml"
    sets = "texts:\n  own: {file: own.txt}\n  longest: {size: limit, language: ja}\n"
    file.write_text(LINES + "    - say: '{{own}}'\n    - say: '{{longest}}'\n" + sets)
    found = read_script(file).texts
    assert found["own"] == ("Grüße", "Hi")
    assert len(found["longest"][0].encode()) == 4096
    file.write_text(LINES + "    - say: '{{longest}}!'\n" + sets)
    with pytest.raises(ConfigError, match="line 3, say: 4097 bytes"):
        read_script(file)
    file.write_text(LINES + "    - say: '{{q}}'\ntexts: {q: {size: short}}\nfeeder: q.csv\n")
    with pytest.raises(ConfigError, match=r"line 3, say: 'q' is both a column of .*q\.csv and"):
        read_script(file)


def test_files_to_attach_must_be_there_in_every_row(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("file\na.pdf\nb.pdf\n")
    (tmp_path / "a.pdf").write_bytes(b"x")
    file = tmp_path / "shop.yaml"
    file.write_text(LINES + "    - attach: '{{file}}'\nfeeder: f.csv\n")
    with pytest.raises(ConfigError, match=r"line 3, attach: there is no file .*b\.pdf"):
        read_script(file)
    (tmp_path / "b.pdf").write_bytes(b"x" * 10_485_761)
    with pytest.raises(ConfigError, match=r"line 3, attach: .*b\.pdf has 10,485,761 bytes; the"):
        read_script(file)
    (tmp_path / "b.pdf").write_bytes(b"x")
    read_script(file)
    file.write_text(LINES + "    - attach: '{{t}}'\ntexts: {t: {size: short}}\n")
    with pytest.raises(ConfigError, match="line 3, attach: a set of texts is no file"):
        read_script(file)


def test_files_with_their_feeder_beside_them(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text("order\n4711\n")
    file = tmp_path / "shop.yaml"
    file.write_text(LINES + "    - say: '{{order}}'\nfeeder: orders.csv\n")
    loaded = read_script(file)
    assert loaded.feeder is not None
    assert loaded.feeder.row_for(0) == {"order": "4711"}
    file.write_text(LINES + "    - join\nfeeder: none.csv\n")
    with pytest.raises(ConfigError, match=r"shop\.yaml, line 4, feeder: .*none\.csv: No such"):
        read_script(file)
    file.write_bytes(b"scenarios: \xff")
    with pytest.raises(ConfigError, match=r"shop\.yaml, line 1: not UTF-8 text \(byte 11\)"):
        read_script(file)
    with pytest.raises(ConfigError, match=r"gone\.yaml: No such file"):
        read_script(tmp_path / "gone.yaml")


values = st.recursive(
    st.none() | st.text(max_size=8) | st.sampled_from(["1", "2s", "join", "true", "{{a}}"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*map(str, StepKind), "steps", "within", "weight", "attributes", "x"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["scenarios", "feeder", "within", "config", "A"]), values))
def test_any_document_is_taken_or_refused_with_its_place(document: dict[str, object]) -> None:
    import json

    text = json.dumps(document)  # JSON is YAML
    try:
        parse_script(text, name="shop.yaml")
    except ConfigError as error:
        told = str(error)
    else:
        return
    assert told.startswith("shop.yaml")
    assert "\n" not in told
