"""The page holds the account, stands alone, and lets nothing from outside run or break out."""

import base64
import hashlib
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import orjson
import pytest
from synthetic import make_run

from harness.judge.reading import read_record
from harness.judge.series import MOST_BINS, read_series
from harness.measure.model import OPERATIONS
from harness.report.html.run_page import run_page
from harness.report.outputs import write_reports

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}\"'&\u202e$$x$$"
LIMIT_BYTES = 500_000
"""Of a short run; no run has more than twice its bins."""


class Outline(HTMLParser):
    """Collects elements, ids and visible text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._hidden = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._hidden = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._hidden = self._hidden and tag not in ("script", "style")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(
        tmp_path_factory.mktemp("runs") / "r1", length_s=60, trouble=True, leave=2, workers=2
    )


@pytest.fixture(scope="module")
def page(run_dir: Path) -> str:
    return write_reports(run_dir, ["html"])[0].read_text()


@pytest.mark.slow
def test_verdict_and_account_come_first(page: str) -> None:
    text = Outline(page).text
    record_at = text.index("Failed")
    assert record_at < text.index("2 have no proof of an end") < text.index("Objectives")
    assert "harness sweep r1" in text


def test_every_section_is_there_and_reached_by_the_contents(page: str) -> None:
    outline = Outline(page)
    ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [attributes["href"] for attributes in outline.named("a")]
    assert all(link is not None and link.removeprefix("#") in ids for link in links)
    sections = [attributes["id"] for attributes in outline.named("section")]
    assert sections == [
        "objectives", "times", "time", "account", "unusual", "generator", "how", "measuring",
    ]  # fmt: skip


def test_it_needs_nothing_from_outside_and_is_small(page: str) -> None:
    assert len(page.encode()) < LIMIT_BYTES
    outline = Outline(page)
    assert outline.named("link") == []
    assert [item for item in outline.named("script") if "src" in item] == []
    assert outline.named("img") == []
    assert "url(" not in page[page.index("<style>") : page.index("</style>")]


def test_the_longest_run_with_every_operation_stays_under_a_megabyte(run_dir: Path) -> None:
    record, series = read_record(run_dir), read_series(run_dir)
    assert series is not None
    many = MOST_BINS // len(series)
    for kind in ("rates", "sessions", "failures", "process", "samples"):
        columns = getattr(series, kind)
        for name in columns:
            columns[name] = columns[name] * many
    for bands in (series.bands_ms, series.bounds):
        for columns in bands.values():
            for quantile in columns:
                columns[quantile] = columns[quantile] * many
    series.starts_s = [series.starts_s[0] + place for place in range(len(series) * many)]
    assert len(series) == MOST_BINS
    for name in OPERATIONS:
        tag = f"{name}.service"
        for where in (series.bands_ms, series.bounds, series.samples, series.totals, series.blocks):
            where[tag] = where["reply.service"]  # type: ignore[index]
        series.totals[f"{name}.corrected"] = series.totals["reply.corrected"]
        assert series.parts is not None
        series.parts.bands_ms[tag] = series.parts.bands_ms["reply.service"]
        series.parts.samples[tag] = series.parts.samples["reply.service"]
    figures = record.operations["reply"]
    record = record.model_copy(update={"operations": dict.fromkeys(OPERATIONS, figures)})
    assert 400_000 < len(run_page(record, series).encode()) < 1_000_000


def test_the_security_policy_allows_just_the_script_of_the_page(page: str) -> None:
    scripts = re.findall(r"<script>(.*?)</script>", page, re.S)
    hashes = {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts}
    assert len(scripts) == 1
    assert set(re.findall(r"'sha256-([^']+)'", page)) == hashes
    assert "unsafe-eval" not in page
    assert not re.search(r"<[^>]+\son\w+=", page[: page.index("<script>")])


def test_charts_have_names_legends_and_tables(page: str) -> None:
    outline = Outline(page)
    figures = outline.named("figure")
    assert len(figures) > 15
    assert len(outline.named("figcaption")) == len(figures)
    images = [item for _, item in outline.tags if item.get("role") == "img"]
    assert len(images) == len(figures)
    assert all(item["aria-label"] for item in images)


def test_hostile_text_stays_text(run_dir: Path, tmp_path: Path) -> None:
    copy = tmp_path / "hostile"
    shutil.copytree(run_dir, copy)
    record = orjson.loads((copy / "run.json").read_bytes())
    record["reasons"] = [HOSTILE]
    record["run_id"] = HOSTILE
    record["operations"][HOSTILE] = record["operations"]["reply"] | {"outcomes": {HOSTILE: 3}}
    record["forensics"] = {HOSTILE: 1}
    record["objectives"][0]["text"] = record["objectives"][0]["unit"] = HOSTILE
    record["how"] = {name: HOSTILE for name in ("target", "deployment_id", "locustfile", "host")}
    record["how"]["options"] = {HOSTILE: HOSTILE}
    record["how"]["versions"] = {HOSTILE: HOSTILE}
    record["sessions"]["leftover_reasons"] = {HOSTILE: 2}
    record["sweep"] = record["audit"] = {HOSTILE: {"x": HOSTILE}}
    (copy / "run.json").write_bytes(orjson.dumps(record))
    for path in copy.glob("intervals-*.jsonl"):
        rows = [orjson.loads(line) for line in path.read_bytes().splitlines()]
        for row in rows:
            row["outcomes"][HOSTILE] = {HOSTILE: 1}
            row["counts"][HOSTILE] = 1
        path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    for path in copy.glob("histograms-*.hlog"):
        path.write_text(path.read_text().replace("Tag=reply.", f"Tag={HOSTILE}."))
    page = write_reports(copy, ["html"])[0].read_text()
    outline = Outline(page)
    assert len(re.findall(r"<script>", page)) == len(re.findall(r"</script>", page)) == 1
    assert outline.named("img") == []
    assert outline.text.count(HOSTILE) > 10
    assert "49" not in outline.text[: outline.text.index("Objectives")]


def test_a_record_without_intervals_says_what_is_missing(run_dir: Path, tmp_path: Path) -> None:
    shutil.copy(run_dir / "run.json", tmp_path)
    text = Outline(write_reports(tmp_path, ["html"])[0].read_text()).text
    assert "interval files are missing" in text
    assert "nothing can be shown over time" in text


def test_an_empty_record_shows_dashes_and_no_zeros(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(b'{"schema": 1, "run_id": "empty"}')
    page = write_reports(tmp_path, ["html"])[0].read_text()
    text = Outline(page).text
    assert "No verdict" in text
    assert "What became of its sessions is not recorded." in text
    own, _, manual = page.partition('<div class="manual">')
    assert manual
    figures = re.findall(r"<(?:dd|td)[^>]*>([^<]*)</(?:dd|td)>", own)
    assert figures
    assert {figure.strip() for figure in figures} <= {"—", "", "service time"}


def test_a_crashed_run_gives_a_partial_report(run_dir: Path, tmp_path: Path) -> None:
    crashed = tmp_path / "crashed"
    shutil.copytree(run_dir, crashed, ignore=shutil.ignore_patterns("run.json", "report.html"))
    for path in (*crashed.glob("*.jsonl"), *crashed.glob("*.hlog")):
        path.write_bytes(path.read_bytes()[:-40])
    text = Outline(write_reports(crashed, ["html"])[0].read_text()).text
    assert "Not valid" in text
    assert "This is a partial report: the run did not come to its end." in text


@pytest.mark.slow
def test_files_that_contradict_the_record_are_told(run_dir: Path, tmp_path: Path) -> None:
    copy = tmp_path / "tampered"
    shutil.copytree(run_dir, copy)
    record = orjson.loads((copy / "run.json").read_bytes())
    record["operations"]["reply"]["count"] -= 1
    (copy / "run.json").write_bytes(orjson.dumps(record))
    assert "one of them was changed or cut short" in write_reports(copy, ["html"])[0].read_text()
    damaged = next(copy.glob("histograms-*.hlog"))
    damaged.write_text(damaged.read_text().replace("HISTF", "XXXXX", 1))
    assert "one of them was changed or cut short" in write_reports(copy, ["html"])[0].read_text()


@pytest.mark.slow
def test_making_it_again_gives_the_same_words(run_dir: Path, page: str) -> None:
    assert Outline(write_reports(run_dir, ["html"])[0].read_text()).text == Outline(page).text
