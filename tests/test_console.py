"""What a command prints into a pipe ends each line where its text ends."""

import io

import pytest
from rich.table import Table

from harness.streams import open_console, plain_table


def table() -> Table:
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    made.add_column("name")
    made.add_column("text")
    made.add_row("a", "short")
    made.add_row("b", "much longer than that")
    return made


@pytest.mark.parametrize("stderr", [False, True])
def test_no_blanks_at_line_ends(capsys: pytest.CaptureFixture[str], stderr: bool) -> None:
    console = open_console(stderr=stderr)
    console.print(table())
    console.print("ä · →   ", end="\n")
    output = capsys.readouterr()
    text = output.err if stderr else output.out
    assert (output.out if stderr else output.err) == ""
    lines = text.split("\n")
    assert lines == [line.rstrip() for line in lines]
    assert lines[1].split() == ["a", "short"]
    assert "ä · →" in lines


def test_no_word_of_a_table_is_cut_short(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    made = plain_table("figure", "verdict", "where", left=True)
    made.add_row("session_open p95", "undecided", "webmessaging.example")
    open_console().print(made)
    words = ["figure", "verdict", "where", "session_open", "undecided", "webmessaging.example"]
    assert capsys.readouterr().out.split() == [*words, "p95"]


def test_a_terminal_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    seen = Terminal()
    monkeypatch.setattr("sys.stdout", seen)
    console = open_console()
    assert console.is_terminal
    console.print(table())
    assert "short" in seen.getvalue()


def test_brackets_in_the_words_of_others_are_words(capsys: pytest.CaptureFixture[str]) -> None:
    console = open_console()
    console.print("the service said [/x] and [bold]:smile:")
    table = Table(box=None)
    table.add_column("[/y]")
    table.add_row("[/z]")
    console.print(table)
    output = capsys.readouterr().out
    assert "[/x] and [bold]:smile:" in output
    assert "[/y]" in output
    assert "[/z]" in output
