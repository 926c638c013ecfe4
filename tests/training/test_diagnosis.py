"""What goes wrong without an error is said in a line; the errors are in tests/test_training.py."""

import numpy as np
import pytest

import lpnet as lp
from lpnet import nn, optim
from lpnet.data import DataLoader

X = np.random.default_rng(0).standard_normal((96, 4)).astype(np.float32)


def train(labels, lr, epochs=3, **options):
    """Train a linear classifier of three classes, from weights that are zero."""
    model = nn.Linear(4, 3)
    for p in model.parameters():
        p.data = np.zeros_like(p.data)
    lp.fit(
        model,
        DataLoader((X, labels), 32),
        epochs=epochs,
        optimizer=optim.SGD(model.parameters(), lr),
        progress=False,
        **options,
    )


@pytest.mark.parametrize("epochs, told", [(1, [1]), (2, [2]), (5, [2, 5])])
def test_a_loss_that_is_that_of_guessing_is_said(capsys, epochs, told):
    """At rate 0 nothing is learned, and the loss is ln 3."""
    train(np.arange(96) % 3, 0.0, epochs)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" is that of guessing, ln(3)")[0] for line in lines] == [
        f"fit: after epoch {epoch} the loss {np.log(3):.3f}" for epoch in told
    ]


def test_a_loss_that_falls_or_is_none_of_classes_is_not(capsys):
    train(X.argmax(axis=1) % 3, 1.0)
    train(np.arange(96) % 3, 0.0, loss=lambda logits, labels: lp.functions.cross_entropy(logits, labels))
    assert capsys.readouterr().err == ""


def test_a_loss_that_rises_is_said_once(capsys):
    """At a rate at which a linear classifier overshoots, the loss of an epoch is over twice that of the first step."""
    train(X.argmax(axis=1) % 3, 200.0, 4)
    (line,) = capsys.readouterr().err.splitlines()
    assert (
        line.startswith("fit: after epoch 1 the loss ") and "if it diverges, try a lower learning rate (--lr)" in line
    )


def test_a_run_that_goes_on_from_learned_weights_is_not_said_to_diverge(capsys):
    """Its first loss is next to nothing, and an epoch's that is over twice that still is."""
    model, labels = nn.Linear(4, 3), X[:, :3].argmax(axis=1)
    model.weight.data, model.bias.data = 20 * np.eye(3, 4, dtype=np.float32), np.zeros(3, np.float32)
    labels[50] = (labels[50] + 1) % 3
    optimizer = optim.SGD(model.parameters(), 1e-9)
    log = lp.fit(model, DataLoader((X, labels), 8), epochs=1, optimizer=optimizer, progress=False)
    first = float(lp.functions.cross_entropy(model(X[:8]), labels[:8]).data)
    assert 2 * first < log[0]["train_loss"] < np.log(3) and capsys.readouterr().err == ""


def rounded(role, fmt, **options):
    """Train one epoch with one role of the model, or of the optimizer, in a format; return what is said."""
    model, precision = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), lp.Precision(**{role: fmt})
    nn.lower(model, precision)
    optimizer = optim.SGD(model.parameters(), 0.01, precision=precision)
    lp.fit(model, DataLoader((X, np.arange(96) % 3), 32), epochs=1, optimizer=optimizer, progress=False, **options)


@pytest.mark.parametrize(
    ("role", "options", "remedy"),
    [
        ("activation", {}, "such as fixed8.17 (--precision activation=...)"),
        ("error", {"scaler": optim.LossScaler(2.0**30)}, "a smaller loss scale (--loss-scale)"),
    ],
)
def test_saturation_above_a_third_is_said_with_its_place(capsys, role, options, remedy):
    """A format from -2^-12 to 2^-12 has no room for activations, nor for errors that are scaled up."""
    rounded(role, lp.FixedPoint(8, 19), **options)
    lines = [line for line in capsys.readouterr().err.splitlines() if "beyond the ends of" in line]
    assert len(lines) == 1 and f"rounded as {role} at" in lines[0] and remedy in lines[0]


def test_what_is_within_its_format_is_not_said(capsys):
    """Blocks reach as far as their numbers, a wide format further, and a function has no ends."""
    for fmt in ("bfp8", "fixed16.8", lambda x: 0 * x):
        rounded("activation", fmt)
    assert "beyond" not in capsys.readouterr().err
