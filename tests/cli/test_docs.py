"""The manual in the terminal."""

import pytest

from harness.cli.main import main
from harness.docs import FOLDER, TABLES, TOPICS, page, topics


@pytest.mark.slow
def test_topics_pages_and_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["docs"]) == 0
    listed = capsys.readouterr().out
    assert [name for name in topics() if f"  {name} " not in listed] == []
    for name in topics():
        assert main(["docs", name]) == 0
        assert page(name).split()[1] in capsys.readouterr().out
    assert main(["docs", "--search", "WAITFORREPLY"]) == 0
    lines = capsys.readouterr().out
    assert "waitForReply" in lines
    assert "[bold]" not in lines


def test_no_name_in_a_table_is_cut_short(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert main(["docs", "metrics"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("…") == page("metrics").count("…")
    assert max(map(len, shown.splitlines())) <= 40


def test_every_page_is_a_topic_and_so_is_every_table_of_the_package() -> None:
    assert sorted(TOPICS) == sorted(path.stem for path in FOLDER.glob("*.md"))
    templates = FOLDER.parent / "deploy"
    beside = FOLDER.parent.rglob("*.md")
    assert set(TABLES.values()) == {one for one in beside if one.parent not in (FOLDER, templates)}
    assert list(topics()) == [*TOPICS, *TABLES]


def test_what_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    for words, code, why in (
        (["docs", "nonsense"], 8, "there is no topic 'nonsense'; there are: "),
        (["docs", "--search", "qwertz"], 8, "'qwertz' is not in the manual"),
        (["docs", "--search", " "], 8, "--search: expected a word"),
        (["docs", "scripts", "--search", "x"], 2, "give no TOPIC"),
    ):
        assert main(words) == code
        assert why in capsys.readouterr().err
