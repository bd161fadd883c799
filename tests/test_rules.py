"""Rules against what a reader of their definitions would choose, and what each of them needed to see."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tedbench.errors import UsageError
from tedbench.rising import Bisect, Gain, Share
from tedbench.rules import Best, Budget, Fixed, Knee, Rule, Sweep, Trade

ETA = tuple(i / 10 for i in range(11))
CLIP = "clip-text@toy"
LOWER = ("lpips", "cost")
values = st.lists(st.floats(0, 1).map(lambda x: round(x, 3)), min_size=2, max_size=11)


def sweep(strengths: tuple[float, ...] = ETA, default: float = 0.7, **metrics: list[float]) -> Sweep:
    table = {name.replace("_", "-"): column for name, column in metrics.items()}
    table[CLIP] = table.get("clip", [])
    return Sweep(strengths, default, lambda metric, at: table[metric][at], lambda metric: metric not in LOWER)


def of(column: list[float]) -> Sweep:
    return sweep(ETA[: len(column)], clip=column)


def test_fixed_is_the_methods_own_or_what_was_said() -> None:
    one = sweep()
    assert Fixed().choose(one) == 7
    assert one.asked == {7}
    assert Fixed(0.3).choose(sweep()) == 3
    with pytest.raises(UsageError, match=r"no strength 0\.35 among 0, 0\.1"):
        Fixed(0.35).choose(sweep())


def test_budget_is_the_greatest_within_though_a_lesser_is_not() -> None:
    lpips = [0.1, 0.4, 0.2, 0.3, 0.31]
    one = sweep(ETA[:5], lpips=lpips)
    assert Budget(0.3, "lpips").choose(one) == 3
    assert one.asked == set(range(5))
    assert Budget(0.05, "lpips").choose(sweep(ETA[:5], lpips=lpips)) is None
    assert Budget(0.35, "ssim").choose(sweep(ETA[:5], ssim=lpips)) == 1


def test_best_is_an_upper_bound_and_the_least_of_equals() -> None:
    assert Best("both").choose(sweep(ETA[:5], both=[0, 1, math.nan, 1, 0])) == 1
    assert Best("lpips").choose(sweep(ETA[:3], lpips=[0.3, 0.1, 0.6])) == 1
    assert Best.upper_bound
    assert not any(rule.upper_bound for rule in (Fixed, Budget, Knee, Trade, Gain, Share, Bisect))


def test_knee_of_a_corner() -> None:
    cost = [0.0, 0.0, 0.0, 0.5, 1.0]
    gain = [0.0, 0.4, 0.9, 0.95, 1.0]
    assert Knee("gain", "cost").choose(sweep(ETA[:5], gain=gain, cost=cost)) == 2
    closeness = [40 - 20 * c for c in cost]  # the same corner, by a PSNR
    assert Knee("gain", "psnr").choose(sweep(ETA[:5], gain=gain, psnr=closeness)) == 2
    assert Knee("gain", "cost").choose(sweep(ETA[:5], gain=[0.2] * 5, cost=[0.1] * 5)) == 0


two = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=11)


@given(two, st.sampled_from([0.0, 0.25, 1.0, 3.0]))
def test_trade_is_where_the_gain_exceeds_its_price_by_most(points: list[tuple[float, float]], price: float) -> None:
    gain, cost = ([point[i] for point in points] for i in (0, 1))
    one = sweep(ETA[: len(points)], gain=gain, cost=cost)
    chosen = Trade("gain", "cost", price).choose(one)
    worth = [g - price * c for g, c in points]
    assert chosen == worth.index(max(worth))
    assert one.asked == set(range(len(points)))


@given(st.integers(2, 41), st.integers(0, 40), st.integers(3, 9), st.floats(0.5, 4))
def test_a_trade_of_few_looks_finds_a_single_peak(n: int, peak: int, most: int, fall: float) -> None:
    """Of a worth that rises to one peak and falls from it, no strength that was seen is better than what it chose."""
    gain = [-abs(i - peak) * (fall if i > peak else 1.0) for i in range(n)]
    one = sweep(tuple(i / n for i in range(n)), gain=gain, cost=[0.0] * n)
    chosen = Trade("gain", "cost", most=most).choose(one)
    assert len(one.asked) <= most
    assert chosen in one.asked and gain[chosen or 0] == max(gain[at] for at in one.asked)
    if most == 9 and n <= 11:  # each further look halves one side of the best
        assert chosen == gain.index(max(gain))


def test_a_trade_of_few_looks_passes_over_what_is_not_there() -> None:
    nan = math.nan
    one = sweep(ETA, gain=[0.1, nan, 0.2, nan, nan, nan, nan, 0.4, nan, nan, nan], cost=[0.0] * 11)
    assert Trade("gain", "cost", most=5).choose(one) in (0, 2)
    assert len(one.asked) <= 5
    assert Trade("gain", "cost", most=5).choose(sweep(ETA, gain=[nan] * 11, cost=[0.0] * 11)) is None
    with pytest.raises(UsageError, match="most 2 is too few"):
        Trade("gain", "cost", most=2)


@given(two)
def test_a_higher_price_never_buys_more_cost(points: list[tuple[float, float]]) -> None:
    gain, cost = ([point[i] for point in points] for i in (0, 1))
    chosen = [Trade("gain", "cost", p).choose(sweep(ETA[: len(points)], gain=gain, cost=cost)) for p in (0, 0.5, 1, 4)]
    paid = [cost[at] for at in chosen if at is not None]
    assert all(later <= earlier + 1e-9 for earlier, later in itertools.pairwise(paid))
    assert chosen[0] == Best("gain").choose(sweep(ETA[: len(points)], gain=gain))


def test_a_trade_by_closeness_is_the_same_trade() -> None:
    cost, gain = [0.0, 0.1, 0.2, 0.5], [0.0, 0.3, 0.35, 0.6]
    for price in (0.2, 0.9, 2.0):
        by_cost = Trade("gain", "cost", price).choose(sweep(ETA[:4], gain=gain, cost=cost))
        assert by_cost == Trade("gain", "ssim", price).choose(sweep(ETA[:4], gain=gain, ssim=[1 - c for c in cost]))


@given(values, st.floats(0.01, 0.9))
def test_gain_is_the_first_that_gains_enough(column: list[float], least: float) -> None:
    passing = [i for i, v in enumerate(column) if v - column[0] >= least]
    one = of(column)
    chosen = Gain(CLIP, least).choose(one)
    assert chosen == (passing[0] if passing else len(column) - 1)
    assert one.asked == set(range(chosen + 1))


@given(values, st.floats(0.1, 1))
def test_share_is_of_what_the_sweep_gains(column: list[float], of_: float) -> None:
    chosen = Share(CLIP, of_).choose(of(column))
    most = max(column) - column[0]
    assert chosen is not None
    assert column[chosen] - column[0] >= of_ * most
    assert all(v - column[0] < of_ * most for v in column[:chosen])


@given(values, st.floats(0.01, 0.9), st.integers(2, 8))
def test_bisect_finds_what_gain_finds_where_gains_rise(column: list[float], least: float, most: int) -> None:
    rising = sorted(column)
    one, every = of(rising), of(rising)
    chosen, wanted = Bisect(CLIP, least, most).choose(one), Gain(CLIP, least).choose(every)
    assert chosen is not None and wanted is not None
    assert chosen >= wanted
    assert chosen in one.asked
    assert len(one.asked) <= max(2, most)
    if most >= 2 + math.ceil(math.log2(len(rising))):
        assert chosen == wanted


def test_five_looks_are_enough_for_eleven_strengths_but_for_one() -> None:
    found = []
    for first in range(1, 11):
        one = of([0.0] * first + [1.0] * (11 - first))
        found.append(Bisect(CLIP, 0.5).choose(one))
        assert len(one.asked) <= 5
    assert sum(a != b for a, b in zip(found, range(1, 11), strict=True)) <= 1


@pytest.mark.parametrize(
    "rule", [Budget(1, CLIP), Best(CLIP), Gain(CLIP), Share(CLIP), Knee(CLIP, CLIP), Trade(CLIP, CLIP), Bisect(CLIP)]
)
def test_what_failed_is_not_chosen(rule: Rule) -> None:
    assert isinstance(rule, Rule)
    assert rule.choose(of([math.nan] * 5)) is None
    column = [0.0, math.nan, 0.5, math.nan, 1.0]
    chosen = rule.choose(of(column))
    assert chosen is not None
    assert not math.isnan(column[chosen])
    assert CLIP in rule.reads


@pytest.mark.parametrize("rule", [Gain(CLIP), Share(CLIP), Bisect(CLIP)])
def test_without_the_first_image_there_is_no_gain(rule: Rule) -> None:
    assert rule.choose(of([math.nan, 0.3, 0.35])) is None


@pytest.mark.parametrize("rule", [Best(CLIP), Share(CLIP), Knee(CLIP, CLIP), Trade(CLIP, CLIP, 0)])
def test_the_psnr_of_an_equal_image_is_no_number_to_choose_by(rule: Rule) -> None:
    assert rule.choose(of([0.1, math.inf, 0.3])) in (0, 2)
    assert rule.choose(of([math.inf] * 3)) is None
    assert Budget(1, CLIP).choose(of([0.1, math.inf, 0.3])) == 1  # but it is as close as can be


def test_what_cannot_be_is_refused() -> None:
    for make in (lambda: Gain(), lambda: Knee(), lambda: Trade(), lambda: Share(), lambda: Bisect()):
        with pytest.raises(UsageError, match="no metric named"):
            make()
    with pytest.raises(UsageError, match="at most 1"):
        Share(CLIP, 1.5)
    with pytest.raises(UsageError, match="too few"):
        Bisect(CLIP, 0.1, 1)
