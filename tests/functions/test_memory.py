"""What backward keeps: inputs and output of an operation, a bit a number, a few numbers a channel."""

import weakref

import numpy as np
import pytest

import lpnet as lp
from lpnet import functions as F

N, C, H = 6, 8, 10
LAYERS = {
    "conv2d": lambda x: F.conv2d(x, lp.Parameter(normal(C, C, 3, 3)), lp.Parameter(normal(C)), padding=1),
    "batch_norm": lambda x: F.batch_norm(x, lp.Parameter(normal(C)), lp.Parameter(normal(C))),
    "relu": F.relu,
    "max_pool2d": lambda x: F.max_pool2d(x, 2),
    "avg_pool2d": lambda x: F.avg_pool2d(x, 2),
    "add": lambda x: x + x,
    "reshape": lambda x: x.reshape(N, -1),
    "linear": lambda x: F.linear(x.reshape(N, -1), lp.Parameter(normal(4, C * H * H))),
}


def normal(*shape):
    """Return float32 numbers."""
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def arrays(value):
    """Yield the arrays in an attribute of a function."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, lp.Tensor):
        yield value.data
    elif isinstance(value, list | tuple):
        for item in value:
            yield from arrays(item)


@pytest.mark.parametrize("name", LAYERS)
def test_backward_keeps_inputs_and_output_only(name):
    """Every large array that a function holds is an input of it or its output, but for a bit a number: no copies."""
    x = lp.Tensor(normal(N, C, H, H), requires_grad=True)
    y = LAYERS[name](x)
    own = [x.data, y.data, *(leaf.data for leaf in y.creator.inputs if isinstance(leaf, lp.Tensor))]
    for held in (a for value in vars(y.creator).values() for a in arrays(value)):
        assert held.nbytes <= max(4 * C, y.size / 8) or any(np.shares_memory(held, a) for a in own)


def test_what_no_backward_needs_is_freed_at_once():
    """An intermediate result lives as long as its user has it, or a function whose backward takes its numbers."""
    x = lp.Tensor(normal(N, C, H, H), requires_grad=True)
    hidden = x * 2.0
    numbers = weakref.ref(hidden.data)
    y = F.exp(hidden)  # whose backward takes its result
    kept, total = weakref.ref(y.data), y.sum()
    del hidden, y
    assert numbers() is None and kept() is not None
    total.backward()
    assert kept() is None and np.allclose(x.grad, 2 * np.exp(2 * x.data))


def test_backward_frees_what_it_kept():
    """After the sweep the functions of the graph hold nothing."""
    x = lp.Tensor(normal(N, C, H, H), requires_grad=True)
    hidden = F.relu(F.batch_norm(x, lp.Parameter(normal(C)), lp.Parameter(normal(C))))
    creators = [hidden.creator, hidden.creator.inputs[0].creator]
    hidden.sum().backward()
    assert [vars(f) for f in creators] == [{}, {}]
