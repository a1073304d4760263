"""What others take of the machine is told from what we and our children take."""

import subprocess
import sys

import pytest

from harness.studies.calibrate.runs import OtherWork, _own_s, share_of_others


def test_the_share_of_others_is_what_is_not_ours() -> None:
    assert share_of_others(busy_s=8, own_s=6, all_s=20) == pytest.approx(0.1)
    assert share_of_others(busy_s=5, own_s=6, all_s=20) == 0  # the clocks of both differ a little
    assert share_of_others(busy_s=99, own_s=0, all_s=20) == 1
    assert share_of_others(busy_s=1, own_s=0, all_s=0) == 0


@pytest.mark.process
def test_the_work_of_a_childs_child_is_ours() -> None:
    work = OtherWork()
    before = _own_s()
    burn = "import time\nwhile time.process_time() < 0.6: pass"
    inner = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}], check=True)"
    subprocess.run([sys.executable, "-c", inner], check=True)
    assert _own_s() - before >= 0.5
    assert 0 <= work.share() <= 1
