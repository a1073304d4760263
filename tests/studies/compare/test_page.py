"""The comparison page stands alone, and escapes what came from outside."""

from pathlib import Path

import orjson
import pytest
from synthetic import make_run

from harness.report.html.page import render
from harness.studies.compare.comparison import compare
from harness.studies.compare.page import comparison_page

HOSTILE = "</td><script>alert(1)</script><img src=x onerror=alert(2)>"


@pytest.mark.slow
def test_it_holds_all_changes_the_customers_first(tmp_path: Path) -> None:
    base = make_run(tmp_path / "base", length_s=60)
    new = make_run(tmp_path / "new", length_s=60, seed=2, leave=3)
    comparison = compare(base, new)
    page = render(comparison_page(comparison))
    assert page.count('<tr role="row">') > len(comparison.times)
    assert '<p class="why">More leftovers' in page
    first, _, rest = page.partition('<details class="folded"><summary>What can')
    assert rest.index('class="footnote"') < rest.index("</details>")
    assert first.count("*</span>") == 0 or 'class="footnote"' in first
    assert first.count('class="footnote"') == 0 or "*</span>" in first
    assert "default-src 'none'" in page
    assert page.index("Service times") < page.index("How they were run")


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    base = make_run(tmp_path / "base", length_s=40)
    record = orjson.loads((base / "run.json").read_bytes())
    record |= {"run_id": HOSTILE, "how": {"target": HOSTILE, "options": {HOSTILE: HOSTILE}}}
    record["operations"][HOSTILE] = {"outcomes": {HOSTILE: 1}}
    (base / "run.json").write_bytes(orjson.dumps(record))
    for path in base.glob("*.hlog"):
        path.write_text(path.read_text().replace("Tag=reply.", f"Tag={HOSTILE}."))
    page = render(comparison_page(compare(base, base)))
    assert "<script>alert" not in page
    assert "<img" not in page
    assert "&lt;script&gt;" in page
