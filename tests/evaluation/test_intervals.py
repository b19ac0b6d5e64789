"""Intervals cover what they promise, in seeded simulations, and agree with scipy where scipy has the same."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from googlenet.evaluation import intervals, resampling
from googlenet.evaluation.intervals import interval_of_sums, mean, proportion, wilson
from googlenet.evaluation.resampling import metric_intervals
from googlenet.metrics import METRICS, metrics_for


@pytest.fixture
def few_resamples(monkeypatch):
    """As many as simulations of many data sets need."""
    monkeypatch.setattr(intervals, "RESAMPLES", 1000)


@pytest.mark.parametrize(("right", "n"), [(0, 5), (5, 5), (7, 10), (90, 100), (1234, 2000)])
def test_wilson_is_scipys(right, n):
    found, expected = wilson(right, n), stats.binomtest(right, n).proportion_ci(method="wilson")
    assert (found.low, found.high) == (pytest.approx(expected.low, abs=1e-12), pytest.approx(expected.high))
    assert found == proportion(np.arange(n) < right)


def test_wilson_covers_95_percent():
    random = np.random.default_rng(0)
    share = random.uniform(0.5, 0.99, 20_000)
    found = [wilson(int(right), 200) for right in random.binomial(200, share)]
    assert np.mean([each.low <= true <= each.high for each, true in zip(found, share, strict=True)]) == (
        pytest.approx(0.95, abs=0.015)
    )


RECALLS, SIZES = np.array([0.9, 0.8, 0.65]), [240, 120, 60]
LABELS = np.repeat([0, 1, 2], SIZES)


def answered(random) -> np.ndarray:
    return np.where(random.random(len(LABELS)) < RECALLS[LABELS], LABELS, (LABELS + 1) % 3)


def test_the_bootstrap_of_balanced_accuracy_covers_95_percent(few_resamples):
    random, covered = np.random.default_rng(0), []
    for seed in range(500):
        counted = resampling._Counted(LABELS, answered(random), 3, None)
        low, high = interval_of_sums(counted.rows, counted.times, resampling._balanced_accuracy, seed)
        covered.append(low <= RECALLS.mean() <= high)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.015)


def test_the_bootstrap_is_scipys():
    called = answered(np.random.default_rng(3))

    def balanced_accuracy(truth, predicted):
        return np.mean([np.mean(predicted[truth == number] == number) for number in range(3)])

    rng = np.random.default_rng(0)
    expected = stats.bootstrap(
        (LABELS, called), balanced_accuracy, paired=True, vectorized=False, n_resamples=400, method="BCa", rng=rng
    ).confidence_interval
    found = metric_intervals(LABELS, np.eye(3)[called])["balanced_accuracy"]
    assert found.value == pytest.approx(metrics.balanced_accuracy_score(LABELS, called))
    assert (found.low, found.high) == (pytest.approx(expected.low, abs=0.01), pytest.approx(expected.high, abs=0.01))


def test_images_of_a_group_err_together_and_only_whole_groups_cover_95_percent(few_resamples):
    random, by_group, by_image = np.random.default_rng(0), [], []
    names = [str(group) for group in range(80) for _ in range(10)]
    for seed in range(500):
        skill = random.beta(3.2, 0.8, 80)  # of a patient or a camera: 0.8 on average
        right = (random.random((80, 10)) < skill[:, None]).ravel()
        grouped, plain = proportion(right, names, seed), proportion(right)
        by_group.append(grouped.low <= 0.8 <= grouped.high)
        by_image.append(plain.low <= 0.8 <= plain.high)
    assert np.mean(by_group) == pytest.approx(0.95, abs=0.015)
    assert np.mean(by_image) < 0.85


@pytest.mark.parametrize("n", [300, 30_000])
def test_the_interval_of_a_mean_is_that_of_student(n):
    losses = np.random.default_rng(0).exponential(0.5, n)
    found = mean(losses)
    low, high = stats.t.interval(0.95, n - 1, losses.mean(), stats.sem(losses))
    assert found.value == pytest.approx(losses.mean())
    assert found.high - found.low == pytest.approx(high - low, rel=0.08)
    assert (found.low + found.high) / 2 == pytest.approx(found.value, abs=0.3 * (high - low))
    assert mean(losses[:1]).low is None


def test_groups_that_are_too_few_and_groups_that_are_all_right():
    right = np.array([True] * 9 + [False])
    few = proportion(right, ["a", "b"] * 5)
    assert (few.value, few.low, few.high, few.groups) == (0.9, None, None, 2)
    whole = proportion(np.ones(120, bool), [str(n // 10) for n in range(120)])
    assert (whole.low, whole.high, whole.n, whole.groups) == (wilson(12, 12).low, 1, 120, 12)
    alone = proportion(right, [None] * 10)
    assert alone == proportion(right)


@pytest.mark.parametrize("groups", [None, [str(n % 40) for n in range(420)]])
def test_sums_are_the_metrics_of_the_table(groups):
    random = np.random.default_rng(1)
    probabilities = random.dirichlet([1, 1, 1], len(LABELS))
    several = random.random((len(LABELS), 4)) < 0.3
    several[:, 3] = False
    scores = np.clip(0.4 * several + 0.6 * random.random(several.shape), 0, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resampling, "RESAMPLES", 50)
        found = [
            (metric_intervals(LABELS, probabilities, (), groups), (LABELS, probabilities, None)),
            (metric_intervals(several, scores, (0.5,) * 4, groups), (several, scores, np.full(4, 0.5))),
        ]
    for each, answers in found:
        assert set(each) == {metric.name for metric in metrics_for(answers[0].ndim == 2)}
        for name, interval in each.items():
            assert interval.value == pytest.approx(METRICS[name](*answers))
            assert interval.value == 1 or interval.low < interval.value < interval.high
            assert interval.groups == (40 if groups else None)
    for statistic, name in ((resampling._balanced_accuracy, "balanced_accuracy"), (resampling._macro_f1, "macro_f1")):
        counted = resampling._Counted(LABELS, probabilities.argmax(1), 3, groups)
        value = statistic(np.asarray(counted.times @ counted.rows)[None])[0]
        assert value == pytest.approx(METRICS[name](LABELS, probabilities))


def test_nothing_varies_and_one_image():
    labels = np.array([0, 0, 1])
    perfect = metric_intervals(labels, np.eye(2)[labels])
    assert (perfect["top1"].high, perfect["top1"].low) == (1, wilson(3, 3).low)
    assert (perfect["macro_f1"].low, perfect["macro_f1"].high) == (None, None)
    one = metric_intervals(labels[:1], np.eye(2)[labels[:1]])
    assert one["top1"].low == wilson(1, 1).low
    assert one["balanced_accuracy"].low is None
