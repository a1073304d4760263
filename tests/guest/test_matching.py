"""An expression of a user finds what ``re`` finds, and never holds up the process."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ConfigError, NotPossible
from harness.guest.questions import WITHIN_S, searching

PARTS = st.sampled_from(
    ["a", "B", ".", r"\d", r"\w+", r"\s", "[^b]", "(?:ab|c)?", "(a)", "^", "$", "é", "[A-Z]", "x*?"]
)


@given(
    st.lists(PARTS, min_size=1, max_size=5).map("".join),
    st.text("aAbBcé 1_\n", max_size=12),
    st.sampled_from([0, re.IGNORECASE, re.MULTILINE | re.DOTALL]),
)
def test_it_finds_what_the_standard_library_finds(pattern: str, text: str, flags: int) -> None:
    compiled = re.compile(pattern, flags)
    assert searching(compiled)(text) is (compiled.search(text) is not None)


def test_an_expression_that_explodes_is_cut_off_and_told() -> None:
    search = searching(r"(a|aa)+$")
    assert search("a" * 60)
    began = time.process_time()
    with pytest.raises(NotPossible, match=r"\(a\|aa\)\+\$.* was cut off after 0\.25 s"):
        search("a" * 60 + "!")
    assert time.process_time() - began < 40 * WITHIN_S  # without the limit: for years


def test_what_is_no_expression_is_refused() -> None:
    with pytest.raises(ConfigError, match="matching"):
        searching("(")
