"""Takes the README's picture of a report: laptop and phone, light and dark.

    python tests/picture.py reports/latest

Writes ``tests/golden/reports/report.png``; look at it before keeping it.
"""

import base64
import sys
import tempfile
from pathlib import Path

from browser import Browser, find_chromium

PICTURE = Path(__file__).parent / "golden" / "reports" / "report.png"
HEIGHT = 820
VIEWS = (
    (1180, False, "document.body"),
    (390, False, "document.body"),
    (1180, True, "document.querySelector('#chart-arrivals')"),
    (390, True, "document.querySelector('#chart-time-0')"),
)
"""Width, dark, and what is at the top of the window; two to a row."""
SCALE = 0.75
GAP = 20
READY = "document.documentElement.dataset.charts === 'ready'"


def take(url: str, browser: Browser, folder: Path) -> list[str]:
    """The views as data URLs."""
    images = []
    for number, (width, dark, top) in enumerate(VIEWS):
        browser.open(url, width=width, height=HEIGHT, dark=dark)
        browser.until(READY)
        browser.run(f"{top}.scrollIntoView()")
        browser.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        path = folder / f"{number}.png"
        browser.screenshot(path)
        images.append("data:image/png;base64," + base64.b64encode(path.read_bytes()).decode())
    return images


def main(run: Path) -> None:
    """Take the views and put them together on one page, which is taken again."""
    program = find_chromium()
    assert program is not None, "there is no Chromium"
    widths = [round(width * SCALE) for width, _, _ in VIEWS]
    height = round(HEIGHT * SCALE)
    folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)  # its processes end later
    with folder as name, Browser(program, Path(name)) as browser:
        urls = take((run / "report.html").resolve().as_uri(), browser, Path(name))
        images = "".join(
            f'<img src="{url}" width="{width}" height="{height}">'
            for url, width in zip(urls, widths, strict=True)
        )
        page = Path(name) / "page.html"
        page.write_text(
            f'<body style="margin:0;background:#e2e6e9;display:grid;gap:{GAP}px;'
            f'grid-template-columns:{widths[0]}px {widths[1]}px">{images}'
        )
        browser.open(page.as_uri(), width=widths[0] + GAP + widths[1], height=2 * height + GAP)
        browser.screenshot(PICTURE)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
