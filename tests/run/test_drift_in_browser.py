"""The page of a soak as people see it: on a laptop and on a phone, by eye and by screen reader."""

import numpy as np
import pytest
from browser import Browser

from harness.report.html.page import write_page
from harness.studies.drift.assess import Side, Watched, assess
from harness.studies.drift.page import drift_page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    at = tuple(np.linspace(0, 8 * 3600.0, 240))
    rng = np.random.default_rng(1)

    def course(drift: float) -> tuple[float, ...]:
        rise = 1 + drift * np.array(at) / at[-1]
        return tuple(200 * rise * np.exp(rng.normal(0, 0.01, len(at))))

    names = (("session_open p95", 0.0), ("reply p50", 0.2), ("reply p95", 0.0), ("clear p95", 0.0))
    watched = [
        Watched(name=name, side=Side.SERVICE, at_s=at, values=course(drift), unit="ms", limit=500)
        for name, drift in names
    ]
    report = assess(watched, sessions=20_000, leftovers=100, duration_s=at[-1])
    folder = tmp_path_factory.mktemp("soak")
    return write_page(folder / "drift.html", drift_page("soak", report)).as_uri()


@pytest.mark.parametrize("width", [1280, 390])
def test_it_fits_the_window_and_needs_nothing_else(browser: Browser, url: str, width: int) -> None:
    browser.open(url, width=width)
    assert browser.console == []
    assert browser.requests == [url]
    assert browser.run("document.documentElement.scrollWidth") <= width
    drawn = browser.run(
        "[...document.querySelectorAll('.box svg')].map(s => s.getBoundingClientRect())"
        ".map(r => [r.left, r.right, r.height])"
    )
    assert len(drawn) == 4
    for left, right, height in drawn:
        assert 0 <= left < right <= width
        assert height > 100
    # What stands in a drawing stays inside of it.
    assert browser.run(
        "[...document.querySelectorAll('.box path')].every(part => {"
        "const a = part.getBoundingClientRect(), b = part.closest('svg').getBoundingClientRect();"
        "return a.left >= b.left - 1 && a.right <= b.right + 1 && a.bottom <= b.bottom + 1})"
    )


def test_the_answer_is_on_the_first_screen(browser: Browser, url: str) -> None:
    browser.open(url, width=1280)
    assert browser.run("document.querySelector('.why').getBoundingClientRect().bottom") < 600
    assert browser.run("document.querySelector('h1').textContent").startswith("The service drifts")


def test_each_drawing_has_its_words(browser: Browser, url: str) -> None:
    browser.open(url, width=1280)
    images = [node for node in browser.accessible() if node["role"] in ("image", "img")]
    names = [node["name"] for node in images]
    assert any(
        name.startswith("Chart: Replies: usual time, drifting over the run") for name in names
    )
