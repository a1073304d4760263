"""The scalability law against a published fit and planted coefficients."""

from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ConfigError
from harness.studies.capacity.models import fit_scalability

# Cisco benchmark, concurrency 1 to 32, from B. Schwartz, "Practical Scalability Analysis with the
# Universal Scalability Law" (2015), whose fit is lambda 995.6486, sigma 0.02671591,
# kappa 0.0007690945; C. Hale's usl4j is tested against the same to 0.02 %.
CISCO = [
    955.16, 1878.91, 2688.01, 3548.68, 4315.54, 5130.43, 5931.37, 6531.08,
    7219.80, 7867.61, 8278.71, 8646.70, 9047.84, 9426.55, 9645.37, 9897.24,
    10097.60, 10240.50, 10532.39, 10798.52, 11151.43, 11518.63, 11806.00, 12089.37,
    12075.41, 12177.29, 12211.41, 12158.93, 12155.27, 12118.04, 12140.40, 12074.39,
]  # fmt: skip


def test_the_published_fit() -> None:
    law = fit_scalability(range(1, 33), CISCO)
    assert law.lambda_ == pytest.approx(995.6486, rel=2e-4)
    assert law.sigma == pytest.approx(0.02671591, rel=2e-4)
    assert law.kappa == pytest.approx(0.0007690945, rel=2e-4)
    assert law.peak_concurrency == pytest.approx(35.57, abs=0.01)  # sqrt((1 - sigma)/kappa)
    assert law.throughput(35) == pytest.approx(12341.75, rel=2e-4)  # the book's X_max
    assert law.r_squared > 0.99
    assert len(law.residuals) == 32
    assert law.doubts == (
        "the peak at 35.57 lies above the highest level measured (32): it is extrapolated",
    )


@given(
    st.floats(min_value=1, max_value=1e5),
    st.floats(min_value=0.001, max_value=0.5),
    st.floats(min_value=1e-5, max_value=0.01),
)
def test_planted_coefficients_come_back(lambda_: float, sigma: float, kappa: float) -> None:
    n = np.array([1, 2, 4, 8, 16, 32, 64, 128.0])
    law = fit_scalability(n, lambda_ * n / (1 + sigma * (n - 1) + kappa * n * (n - 1)))
    assert law.lambda_ == pytest.approx(lambda_, rel=1e-3)
    assert law.sigma == pytest.approx(sigma, rel=5e-3, abs=1e-4)
    assert law.kappa == pytest.approx(kappa, rel=5e-3, abs=1e-7)
    assert law.r_squared > 0.999999


def test_noise_leaves_the_planted_coefficients_within_their_errors() -> None:
    rng = np.random.default_rng(1)
    n = np.array([1, 2, 4, 8, 12, 16, 24, 32, 48, 64.0])
    inside = 0
    for _ in range(100):
        x = 50 * n / (1 + 0.05 * (n - 1) + 0.001 * n * (n - 1)) + rng.normal(scale=4, size=n.size)
        law = fit_scalability(n, x)
        assert law.errors is not None
        inside += abs(law.kappa - 0.001) <= 2.36 * law.errors[2]  # t at 95 % with 7 degrees
    assert inside >= 88  # three standard errors below 95


def test_without_coherency_cost_there_is_no_peak() -> None:
    n = np.array([1, 2, 4, 8, 16, 32.0])
    law = fit_scalability(n, 10 * n / (1 + 0.1 * (n - 1)))
    assert law.kappa == pytest.approx(0, abs=1e-7)
    assert law.peak_throughput <= 100.5
    straight = fit_scalability(n, 10 * n)
    assert straight.peak_throughput > 1e4
    assert straight.throughput(64) == pytest.approx(640, rel=1e-3)
    assert any("coherency cost is not shown" in d or "extrapolated" in d for d in straight.doubts)


def test_when_not_to_trust_it_is_said() -> None:
    few = fit_scalability([1, 2, 4], [10, 19, 34])
    assert "only 3 levels; at least 6 are needed" in few.doubts
    assert few.errors is None
    cliff = fit_scalability([1, 2, 4, 8, 16, 32], [10, 20, 40, 80, 20, 20])
    assert any("does not follow it" in doubt for doubt in cliff.doubts)
    close = fit_scalability([10, 11, 12, 13, 14, 15], [100, 108, 115, 121, 126, 130])
    assert any("too close together" in doubt for doubt in close.doubts)


def test_a_law_without_costs_never_peaks() -> None:
    law = fit_scalability([1, 2, 4, 8, 16, 32], [10, 20, 40, 80, 160, 320])
    flat = type(law)(
        lambda_=10, sigma=0, kappa=0, errors=None, residuals=(), r_squared=1, doubts=()
    )
    assert flat.peak_concurrency == inf
    assert flat.peak_throughput == inf


@pytest.mark.parametrize(
    ("n", "x"),
    [
        ([1, 2], [1.0, 2.0]),
        ([1, 1, 2], [1.0, 1.0, 2.0]),
        ([1, 2, 4], [1.0, 2.0]),
        ([0, 2, 4], [1.0, 2.0, 3.0]),
        ([1, 2, 4], [1.0, -2.0, 3.0]),
        ([1, 2, float("nan")], [1.0, 2.0, 3.0]),
    ],
)
def test_nonsense_is_refused(n: list[float], x: list[float]) -> None:
    with pytest.raises(ConfigError, match="scalability"):
        fit_scalability(n, x)
