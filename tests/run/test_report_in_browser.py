"""The report as people use it: in a real browser, with mouse, keys, screen reader, and on paper."""

import re
from pathlib import Path

import orjson
import pytest
from browser import Browser
from synthetic import make_run

from harness.report.html.page import write_page
from harness.report.outputs import write_reports
from harness.studies.compare.comparison import compare
from harness.studies.compare.page import comparison_page

pytestmark = pytest.mark.browser

READY = "document.documentElement.dataset.charts === 'ready'"
RANGE = (
    "(() => { const [x, , wide] = document.querySelector('.drawn[data-from] svg')"
    ".getAttribute('viewBox').split(' ').map(Number); return [x, x + wide]; })()"
)
TICKS = "[...document.querySelectorAll('.drawn[data-from] .across')].map(a => a.childElementCount)"
LABELS = "getComputedStyle(document.querySelector('.up span')).color"


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "r1", length_s=60, trouble=True, leave=1)


@pytest.fixture(scope="module")
def url(run_dir: Path) -> str:
    return write_reports(run_dir, ["html"])[0].as_uri()


def show(browser: Browser, url: str, **window: int | bool) -> Browser:
    browser.open(url, **window)
    browser.until(READY)
    return browser


def test_it_loads_alone_and_without_a_complaint(browser: Browser, url: str) -> None:
    show(browser, url)
    assert browser.console == []
    assert browser.requests == [url]
    drawn = "document.querySelectorAll('.box svg path').length"
    assert browser.run(drawn) > browser.run("document.querySelectorAll('figure').length") > 15


@pytest.mark.parametrize("width", [1280, 390])
def test_it_fits_the_window(browser: Browser, url: str, width: int) -> None:
    show(browser, url, width=width)
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run("document.documentElement.scrollHeight") < (5000 if width > 600 else 8000)
    first_screen = browser.run(
        "[document.querySelector('.why').getBoundingClientRect().bottom,"
        "document.querySelector('.keys').getBoundingClientRect().top]"
    )
    assert max(first_screen) < 800, "verdict and account belong on the first screen"


def test_a_phone_shows_objectives_whole_and_times_apart(browser: Browser, url: str) -> None:
    show(browser, url, width=390)
    assert browser.run(
        "(e => e.scrollWidth <= e.clientWidth)(document.querySelector('.scroll'))"
    ), "nothing of the objectives is cut off"
    cells = [node["name"] for node in browser.accessible() if node["role"] == "rowheader"]
    assert any(name.startswith("No sessions left behind") for name in cells)
    assert max(browser.run(TICKS)) <= 5
    seen = browser.run(
        "[...document.querySelectorAll('.times thead th')].filter(h => h.checkVisibility() && "
        "h.getBoundingClientRect().right <= innerWidth).map(h => h.textContent)"
    )
    assert {"p50", "p95", "p99"} <= set(seen)
    show(browser, url)
    assert max(browser.run(TICKS)) > 5


@pytest.mark.parametrize("width", [1366, 390])
def test_what_is_met_within_chance_is_shown_whole(
    browser: Browser, tmp_path: Path, width: int
) -> None:
    chance = {
        "text": "session_open errors < 1%", "verdict": "PASS", "figure": 0.0, "limit": 0.01,
        "unit": "share", "margin": 1.0, "low": 0.0, "high": 0.092, "within_chance": True,
        "more_samples": 268,
    }  # fmt: skip
    few = {**chance, "verdict": "NO_DATA", "within_chance": False, "note": "5 samples, 15 more"}
    run = make_run(tmp_path / "r", length_s=30, objectives=[chance, few])
    show(browser, write_reports(run, ["html"])[0].as_uri(), width=width)
    whole = "(e => e.scrollWidth <= e.clientWidth)(document.querySelector('.scroll'))"
    assert browser.run(whole)


def test_dark_and_light_reach_the_charts_and_stay_legible(browser: Browser, url: str) -> None:
    show(browser, url)
    light = (
        browser.run("getComputedStyle(document.body).backgroundColor"),
        [browser.run(LABELS)],
    )
    show(browser, url, dark=True)
    dark = (
        browser.run("getComputedStyle(document.body).backgroundColor"),
        [browser.run(LABELS)],
    )
    for paper, inks in (light, dark):
        assert len(inks) == 1
        assert contrast(paper, inks[0]) >= 4.5
    assert light[0] != dark[0]


@pytest.mark.parametrize("dark", [False, True])
def test_all_text_has_enough_contrast(browser: Browser, url: str, dark: bool) -> None:
    show(browser, url, dark=dark)
    pairs = browser.run(
        """(() => {
          const ground = (e) => {
            for (; e; e = e.parentElement) {
              const c = getComputedStyle(e).backgroundColor;
              if (c !== 'rgba(0, 0, 0, 0)') return c;
            }
          };
          const texts = [...document.querySelectorAll('body *')].filter(e => e.checkVisibility() &&
            [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()));
          return [...new Set(texts.map(e => ground(e) + '|' + getComputedStyle(e).color))];
        })()"""
    )
    assert len(pairs) >= 4
    for pair in pairs:
        assert contrast(*pair.split("|")) >= 4.5, pair


def test_zooming_one_chart_zooms_all_by_mouse(browser: Browser, url: str) -> None:
    show(browser, url)
    whole = browser.run(RANGE)
    browser.run("document.querySelector('#chart-arrivals').scrollIntoView({block: 'center'})")
    box = browser.run(
        "(({x, y, width, height}) => [x, y, width, height])"
        "(document.querySelector('#chart-arrivals .box').getBoundingClientRect())"
    )
    x, y, width, height = box
    browser.drag((x + width * 0.4, y + height / 2), (x + width * 0.6, y + height / 2))
    browser.until(f"{RANGE}[0] > {whole[0]}")
    start, end = browser.run(RANGE)
    assert whole[0] < start < end < whole[1]
    assert "Whole run" not in browser.run("document.querySelector('.zoom output').textContent")


def test_the_time_axis_works_by_keyboard_alone(browser: Browser, url: str) -> None:
    show(browser, url)
    first, last = browser.run(RANGE)
    browser.run("document.querySelector('[data-zoom=in]').focus()")
    browser.press("Enter")
    start, end = browser.run(RANGE)
    assert end - start == pytest.approx((last - first) / 2)
    browser.press("Tab", times=3)
    assert browser.run("document.activeElement.dataset.zoom") == "later"
    browser.press("Space")
    assert browser.run(RANGE)[0] > start
    browser.press("Space", times=8)
    assert browser.run(RANGE)[1] == last
    browser.press("Tab")
    browser.press("Enter")
    assert browser.run(RANGE) == [first, last]


def test_the_first_key_skips_to_the_report(browser: Browser, url: str) -> None:
    show(browser, url)
    browser.press("Tab")
    assert browser.run("document.activeElement.className") == "skip"
    browser.press("Enter")
    assert browser.run("location.hash") == "#main"


def test_a_screen_reader_gets_names_tables_and_figures(browser: Browser, url: str) -> None:
    nodes = show(browser, url).accessible()
    named = {role: [n["name"] for n in nodes if n["role"] == role] for role in ("heading", "image")}
    assert named["heading"][0] == "Failed"
    assert "What became of the sessions" in named["heading"]
    assert any(name.startswith("Chart: Service time of reply") for name in named["image"])
    roles = [node["role"] for node in nodes]
    assert {"main", "navigation", "table", "columnheader", "rowheader", "figure"} <= set(roles)
    assert not [node for node in nodes if node["role"] in ("button", "link") and not node["name"]]


def test_numbers_can_be_selected(browser: Browser, url: str) -> None:
    show(browser, url)
    picked = browser.run(
        "(() => { getSelection().selectAllChildren(document.querySelector('.keys')); "
        "return getSelection().toString(); })()"
    )
    assert re.search(r"\d+\s+sessions left behind|sessions left behind\s+\d+", picked)


def test_it_goes_onto_paper_with_run_id_and_page_numbers(
    browser: Browser, url: str, tmp_path: Path
) -> None:
    show(browser, url, dark=True)
    browser.pdf(tmp_path / "r.pdf")
    assert (tmp_path / "r.pdf").read_bytes().startswith(b"%PDF")
    rules = browser.run(
        "[...document.styleSheets[0].cssRules].filter(r => r instanceof CSSPageRule)"
        ".map(r => r.cssText).join(' ')"
    )
    assert "r1" in rules
    assert "counter(page)" in rules


def test_a_failed_and_swept_run_is_no_longer_page(browser: Browser, tmp_path: Path) -> None:
    run = make_run(tmp_path / "r2", length_s=60, trouble=True, leave=3)
    record = orjson.loads((run / "run.json").read_bytes())
    record["sweep"] = {"settled": 2, "left": 1, "by": "harness sweep", "when": record["started"]}
    record["sweep"]["endings"] = {"cleared": 2, "clear_unanswered": 1}
    record["sweep"]["verdict"] = "the verdict is that of the run itself"
    (run / "run.json").write_bytes(orjson.dumps(record))
    url = write_reports(run, ["html"])[0].as_uri()
    for width, most in ((1366, 5000), (390, 8000)):
        show(browser, url, width=width)
        assert browser.run("document.documentElement.scrollHeight") < most
    assert browser.run("document.querySelectorAll('#account .folded').length") >= 2


def test_paper_says_how_it_was_run_and_cuts_no_label_off(browser: Browser, url: str) -> None:
    show(browser, url, width=700)  # of A4 without its margins, in CSS pixels
    height = "document.querySelector('#how').offsetHeight"
    assert browser.run(height) < 200
    browser.lay_out_for_paper()
    assert browser.run(height) > 300
    widest = browser.run(
        "Math.max(...[...document.querySelectorAll('.drawn .box')]"
        ".map(box => box.getBoundingClientRect().right))"
    )
    assert widest <= 680, "half of a label may stand beyond the end of its axis"


def test_a_tooltip_tells_the_figures_under_the_pointer(browser: Browser, url: str) -> None:
    show(browser, url)
    browser.run("document.querySelector('#chart-time-0').scrollIntoView({block: 'center'})")
    x, y, width, height = browser.run(
        "(({x, y, width, height}) => [x, y, width, height])"
        "(document.querySelector('#chart-time-0 .box').getBoundingClientRect())"
    )
    at = (x + width / 2, y + height / 2)
    browser.drag(at, at)
    told = browser.run("document.querySelector('.tip').textContent").split("\n")
    assert re.fullmatch(r"\d\d:\d\d:\d\d UTC.*", told[0])
    assert [line.split("  ")[0] for line in told[1:]] == ["samples", "p50", "p95", "p99"]
    assert browser.run(RANGE) == [0, 1000], "a click is no drag"


def test_a_link_into_something_folded_opens_it(browser: Browser, url: str) -> None:
    show(browser, url)
    browser.run("document.querySelector('a[href=\"#measuring-verdicts\"]').click()")
    browser.until("document.querySelector('#measuring-verdicts').checkVisibility()")


def test_hostile_text_does_not_run(browser: Browser, run_dir: Path, tmp_path: Path) -> None:
    hostile = "</script><script>window.owned=1</script><img src=x onerror='window.owned=2'>"
    record = orjson.loads((run_dir / "run.json").read_bytes())
    record |= {"reasons": [hostile], "run_id": hostile, "incidents": [{"t": 1, "text": hostile}]}
    for path in (*run_dir.glob("*.jsonl"), *run_dir.glob("*.hlog")):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "run.json").write_bytes(orjson.dumps(record))
    show(browser, write_reports(tmp_path, ["html"])[0].as_uri())
    assert browser.run("window.owned === undefined")
    assert browser.run("document.images.length") == 0
    assert hostile in browser.run("document.body.innerText")


def test_the_policy_stops_a_script_that_slipped_in(browser: Browser, url: str) -> None:
    show(browser, url)
    browser.run(
        "(() => { const s = document.createElement('script'); s.textContent = 'window.owned = 1';"
        "document.body.append(s); })()"
    )
    assert browser.run("window.owned === undefined")
    browser.until("true")
    assert any("Content Security Policy" in text for text in browser.console)


def test_without_charts_the_page_still_stands(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(b'{"schema": 1, "run_id": "empty"}')
    browser.open(write_reports(tmp_path, ["html"])[0].as_uri())
    assert browser.console == []
    assert "No verdict" in browser.run("document.body.innerText")


@pytest.mark.parametrize("width", [1280, 390])
def test_a_comparison_fits_and_shows_its_intervals(
    browser: Browser, run_dir: Path, tmp_path: Path, width: int
) -> None:
    page = tmp_path / "compare.html"
    other = make_run(tmp_path / "r2", length_s=60, seed=2)
    write_page(page, comparison_page(compare(run_dir, other)))
    browser.open(page.as_uri(), width=width)
    assert browser.console == []
    browser.run("document.querySelectorAll('details').forEach(folded => { folded.open = true })")
    assert browser.run("document.documentElement.scrollWidth") <= width
    bars = browser.run(
        "[...document.querySelectorAll('.around i')].map(bar => {"
        "const inner = bar.getBoundingClientRect();"
        "const outer = bar.parentElement.getBoundingClientRect();"
        "return inner.width > 0 && inner.left >= outer.left - 1 && inner.right <= outer.right + 1;"
        "})"
    )
    assert len(bars) > 5
    assert all(bars)


def contrast(ground: str, ink: str) -> float:
    """WCAG contrast ratio of two CSS colours."""

    def luminance(colour: str) -> float:
        if colour.startswith("#"):
            parts = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
        else:
            parts = [float(part) for part in re.findall(r"[\d.]+", colour)[:3]]
        linear = [
            part / 255 / 12.92 if part <= 10 else ((part / 255 + 0.055) / 1.055) ** 2.4
            for part in parts
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(ground), luminance(ink)))
    return (high + 0.05) / (low + 0.05)
