"""Losses against math, stability at the ends of the range, and the sentences for bad labels."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lpnet as lp
from lpnet import functions as F

from .cases import normal


@given(n=st.integers(1, 4), k=st.integers(1, 4), data=st.data())
def test_cross_entropy(n, k, data):
    """The mean over samples of -log of the softmax at the label; gradients are exact."""
    labels = np.array(data.draw(st.lists(st.integers(0, k - 1), min_size=n, max_size=n)))
    x = normal(n, k)
    losses = [math.log(sum(math.exp(v) for v in row)) - row[label] for row, label in zip(x, labels, strict=True)]
    assert F.cross_entropy(lp.Tensor(x), labels).item() == pytest.approx(sum(losses) / n, rel=1e-12, abs=1e-15)
    assert lp.gradcheck(lambda t: F.cross_entropy(t, labels), [x])


@given(shape=st.sampled_from([(), (1,), (3, 2)]))
def test_mse(shape):
    """The mean of squared differences; both sides get exact gradients."""
    x, t = normal(*shape), normal(*shape, seed=1)
    assert F.mse_loss(lp.Tensor(x), lp.Tensor(t)).item() == pytest.approx(np.mean((x - t) ** 2), rel=1e-14)
    assert lp.gradcheck(F.mse_loss, [x, t])


@pytest.mark.parametrize("logit", [1e4, -1e4, 3e38])
def test_cross_entropy_of_huge_logits_is_finite(logit):
    """Logits at the end of float32 give finite losses (or the plain difference of logits) and gradients."""
    x = lp.Tensor(np.float32([[logit, 0.0]]), requires_grad=True)
    loss = F.cross_entropy(x, [1])
    loss.backward()
    assert loss.item() == pytest.approx(max(logit, 0.0), rel=1e-6)
    np.testing.assert_allclose(x.grad, [[1, -1]] if logit > 0 else [[0, 0]])


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_any_integers_are_labels(dtype):
    """The labels' integer type changes nothing."""
    x = lp.Tensor(normal(3, 4))
    assert F.cross_entropy(x, np.array([0, 3, 1], dtype)).item() == F.cross_entropy(x, [0, 3, 1]).item()


@pytest.mark.parametrize(
    ("shape", "labels", "error", "words"),
    [
        ((2, 3), [0, 3], ValueError, r"labels must be in 0\.\.2, got 0\.\.3"),
        ((2, 3), [-1, 2], ValueError, r"labels must be in 0\.\.2, got -1\.\.2"),
        (
            (2, 3),
            [0.0, 1.0],
            TypeError,
            r"labels must be integers, or probabilities \(2, 3\) .*float64",
        ),
        ((2, 3), [True, False], TypeError, r"labels must be integers, .*got \(2,\) of dtype bool"),
        ((2, 3), [0], ValueError, r"labels of shape \(1,\) do not fit logits of shape \(2, 3\)"),
        ((2, 3), [[0], [1]], ValueError, r"labels of shape \(2, 1\)"),
        ((3,), [0, 1, 2], ValueError, r"expected logits \(N, classes\), got shape \(3,\)"),
        ((0, 3), np.zeros(0, int), ValueError, "the batch is empty"),
    ],
)
def test_bad_labels_are_refused(shape, labels, error, words):
    """Labels out of range, not integers or not one a sample are one clear sentence."""
    with pytest.raises(error, match=f"cross_entropy: {words}"):
        F.cross_entropy(lp.Tensor(normal(*shape)), labels)


def test_mse_refuses_to_broadcast():
    """A column against a row would silently be a table of differences."""
    with pytest.raises(ValueError, match=r"mse_loss: prediction \(3, 1\) and target \(3,\) must have one shape"):
        F.mse_loss(lp.Tensor(normal(3, 1)), lp.Tensor(normal(3)))


LABELS = np.array([2, 0, 1, 0])


def by_hand(x, labels, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    """Return the cross-entropy written out label by label, with PyTorch's meaning of each option."""
    k = x.shape[1]
    w = np.ones(k) if weight is None else np.asarray(weight, float)
    losses, total = [], 0.0
    for row, label in zip(x, labels, strict=True):
        if label == ignore_index:
            losses.append(0.0)
            continue
        p = np.exp(row - row.max()) / np.exp(row - row.max()).sum()
        even = -(w * np.log(p)).sum() / k
        losses.append((1 - label_smoothing) * -w[label] * np.log(p[label]) + label_smoothing * even)
        total += w[label]
    return {"none": np.array(losses), "sum": sum(losses), "mean": sum(losses) / total}[reduction]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"weight": [0.5, 1, 3]},
        {"ignore_index": 0},
        {"label_smoothing": 0.3},
        {"weight": [0.5, 1, 3], "ignore_index": 2, "label_smoothing": 0.1},
    ],
)
def test_options_of_cross_entropy_mean_what_they_mean_by_hand(reduction, options):
    """Weights, ignored labels, smoothing and reductions, alone and together."""
    x = np.random.default_rng(0).standard_normal((4, 3))
    got = F.cross_entropy(lp.Tensor(x), LABELS, reduction=reduction, **options)
    np.testing.assert_allclose(got.data, by_hand(x, LABELS, reduction=reduction, **options), rtol=1e-12)


def test_ignored_labels_may_be_no_class_and_an_infinite_logit_of_another_class_costs_nothing():
    """-100 is ignored unless told otherwise; a probability of 0 for a class that is not the label is no loss."""
    x = np.float32([[0.0, 0.0], [5.0, -np.inf]])
    assert F.cross_entropy(x, np.array([0, -100])).item() == pytest.approx(np.log(2))
    assert F.cross_entropy(x, np.array([1, 0]), reduction="sum").item() == pytest.approx(np.log(2))


def test_places_are_samples():
    """Logits (N, K, H, W) have the mean loss of the pixels as samples."""
    rng = np.random.default_rng(1)
    x, labels = rng.standard_normal((2, 3, 4, 5)), rng.integers(0, 3, (2, 4, 5))
    flat = np.moveaxis(x, 1, -1).reshape(-1, 3)
    assert F.cross_entropy(lp.Tensor(x), labels).item() == pytest.approx(by_hand(flat, labels.ravel()))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"reduction": "avg"}, "reduction must be one of mean, sum, none"),
        ({"weight": [1, 2]}, r"weight has shape \(2,\)"),
        ({"label_smoothing": 2}, "label_smoothing must be"),
    ],
)
def test_wrong_options_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        F.cross_entropy(np.zeros((4, 3), np.float32), LABELS, **options)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weight", [None, [0.5, 1, 2]])
def test_probabilities_are_labels(reduction, weight):
    """The loss is that of each class, weighted by its probability: linear in the targets, by labels one by one."""
    x, t = normal(4, 3), np.random.default_rng(0).dirichlet(np.ones(3), 4)
    each = [F.cross_entropy(lp.Tensor(x), np.full(4, c), weight, reduction="none").data for c in range(3)]
    losses = (t * np.stack(each, axis=1)).sum(axis=1)
    expected = {"mean": losses.mean(), "sum": losses.sum(), "none": losses}[reduction]
    np.testing.assert_allclose(F.cross_entropy(lp.Tensor(x), t, weight, reduction=reduction).data, expected, rtol=1e-13)


def test_probabilities_refuse_an_ignored_label():
    """Which they cannot name."""
    with pytest.raises(ValueError, match="cross_entropy: ignore_index is a label; probabilities have none"):
        F.cross_entropy(lp.Tensor(normal(2, 3)), np.ones((2, 3)), ignore_index=1)
