"""What a search raises, as people write it; one written for the other is refused."""

import pytest

from harness.errors import ConfigError
from harness.studies.capacity.search import Raised


def test_loads_are_read_and_shown_in_their_unit() -> None:
    assert Raised.RATE.parse("600/min", "--start") == pytest.approx(10)
    assert Raised.RATE.shown(10) == 600
    assert Raised.OCCUPANCY.parse("20", "--start") == 20
    assert Raised.OCCUPANCY.shown(20) == 20
    level = {"rate_per_s": 3.0, "guests": 40.0}
    assert (Raised.RATE.load_of(level), Raised.OCCUPANCY.load_of(level)) == (3, 40)


@pytest.mark.parametrize(
    ("by", "text", "why"),
    [
        ("rate", "20", "expected a rate such as .* go with --by occupancy"),
        ("rate", "0/s", "expected a rate above zero"),
        ("rate", "20000/s", "up to 10,000/s"),
        ("rate", "nan", "expected a rate"),
        ("rate", "", "expected a rate"),
        ("occupancy", "600/min", "with --by occupancy expected a whole number of guests"),
        ("occupancy", "0", "expected 1 to 1,000,000 guests at once"),
        ("occupancy", "-5", "whole number of guests at once"),
        ("occupancy", "2.5", "whole number of guests at once"),
        ("occupancy", "inf", "whole number of guests at once"),
        ("occupancy", "9" * 5000, "expected 1 to 1,000,000"),
    ],
)
def test_nonsense_names_the_option(by: str, text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=f"^--start: .*{why}"):
        Raised(by).parse(text, "--start")
