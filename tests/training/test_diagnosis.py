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
