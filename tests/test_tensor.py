"""The engine: what a Tensor holds, how the sweep goes back, and where it rounds."""

import copy
import gc
import weakref

import numpy as np
import pytest

import lpnet as lp
from lpnet import functions as F


def leaf(*data, dtype=np.float64):
    """Return a leaf that asks for its gradient."""
    return lp.Tensor(np.array(data, dtype), requires_grad=True)


def q(step):
    """Return a function that rounds to multiples of `step`."""
    return lambda x: np.rint(x / step) * step


# What a Tensor holds


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        ([1.5, 2], np.float32),
        (1.5, np.float32),
        (True, np.float32),
        (np.arange(3), np.float32),
        (np.zeros(2, np.float16), np.float32),
        (np.zeros(2), np.float64),
        (np.float64(1), np.float64),
        (np.float32(1), np.float32),
        (np.zeros(2, bool), np.float32),
    ],
)
def test_float64_stays_and_all_else_is_float32(data, dtype):
    """Only NumPy's float64 makes a float64 tensor; its data is an array also when it is one number."""
    x = lp.Tensor(data)
    assert x.dtype == dtype and isinstance(x.data, np.ndarray)


@pytest.mark.parametrize("data", [1j, np.zeros(2, complex), ["a"], [None], np.array([object()])])
def test_what_is_not_a_real_number_is_refused(data):
    """The sentence names the dtype that came."""
    with pytest.raises(TypeError, match="Tensor: expected real numbers, got an array of dtype"):
        lp.Tensor(data)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("number", [0.1, 2, True, np.float64(0.1), [0.1], (0.1,)])
def test_python_numbers_take_the_tensors_dtype(number, dtype):
    """x + number is what NumPy gives for x + number in x's dtype, on both sides of every operator."""
    x = leaf(0.3, dtype=dtype)
    for y, expected in (
        (x + number, x.data + dtype(number)),
        (number - x, dtype(number) - x.data),
        (x * number, x.data * dtype(number)),
        (number / x, dtype(number) / x.data),
    ):
        np.testing.assert_array_equal(y.data, expected, strict=True)


def test_mixed_precision_widens_and_gives_each_its_own_back():
    """float32 with float64 computes in float64; each input's gradient has the input's dtype."""
    a, b = leaf(1, dtype=np.float32), leaf(2)
    y = a * b
    y.backward()
    assert (y.dtype, a.grad.dtype, b.grad.dtype) == (np.float64, np.float32, np.float64)


@pytest.mark.parametrize("array", [np.ones((2, 3)), np.ones(3, np.float32), np.float64(2), np.float32(2)])
def test_an_array_on_the_left_asks_the_tensor(array):
    """array + tensor is one tensor, not an array of tensors."""
    x = lp.Tensor(np.ones((2, 3)), requires_grad=True)
    for y in (array + x, array * x, array - x, array / x):
        assert isinstance(y, lp.Tensor) and y.shape == (2, 3) and y.requires_grad


@pytest.mark.parametrize("data", [2.5, [2.5], [[2.5]]])
def test_item(data):
    """The only element, whatever its shape, as a Python float."""
    assert lp.Tensor(data).item() == 2.5 and type(lp.Tensor(data).item()) is float


def test_item_of_several_elements_is_refused():
    """There is no one number to return."""
    with pytest.raises(ValueError, match="size 1"):
        lp.Tensor([1.0, 2.0]).item()


def test_length_and_iteration_are_the_arrays():
    """len, iteration and unpacking go along the first axis."""
    a, b = lp.Tensor([[1.0, 2.0], [3.0, 4.0]])
    assert len(lp.Tensor([[1.0], [2.0]])) == 2 and a.data.tolist() == [1, 2] and b.shape == (2,)


def test_repr_says_who_made_it():
    """A leaf shows its data, shape, dtype and gradient, a result also its operation."""
    x = leaf(1)
    assert repr(x) == f"Tensor([1.], shape=(1,), dtype={x.dtype}, grad=None)"
    assert repr(x + x) == f"Tensor([2.], shape=(1,), dtype={x.dtype}, creator=Add)"
    p = lp.Parameter([[1.0, -2.0]])
    (3 * p).sum().backward()
    assert repr(p) == "Parameter([[ 1. -2.]], shape=(1, 2), dtype=float32, grad=[3. 3.])"


@pytest.mark.parametrize("shape", [(), (0, 3), (1000,), (40, 50), (16, 8, 3, 3)])
def test_a_tensor_of_any_size_is_shown_in_a_few_lines(shape):
    """However many numbers there are, with its shape at the end; a notebook has a table beside it."""
    x = lp.Tensor(np.ones(shape, np.float32))
    assert f"shape={shape}, dtype=float32)" in repr(x) and len(repr(x).splitlines()) <= 20
    assert ("<table>" in x._repr_html_()) == bool(x.size)


def test_numpy_and_detach_share_the_data():
    """Neither copies; detach cuts the graph."""
    y = leaf(1) * 2
    assert y.numpy() is y.data and y.detach().data is y.data and not y.detach().requires_grad


# The sweep


def test_a_value_used_twice_gets_both_gradients():
    """d(x x + x)/dx = 2x + 1, with x in three places."""
    x = leaf(3)
    (x * x + x).backward()
    assert x.grad.item() == 7


def test_every_use_is_counted_once_in_a_diamond():
    """With y = 2x used along two paths of different length, dz/dx = 2 (1 + 3y^2): y waits for both."""
    x = leaf(0.5)
    y = 2 * x
    (y + y * y * y).backward()
    assert x.grad.item() == 2 * (1 + 3 * 1.0)


def test_a_chain_of_diamonds_is_walked_once():
    """40 doublings have 2^40 paths: the sweep goes by nodes, not by paths."""
    x = y = leaf(1)
    for _ in range(40):
        y = y + y
    y.backward()
    assert x.grad.item() == 2.0**40


def test_deep_graphs_meet_no_recursion_limit():
    """20,000 operations in a row are walked, and freed, without recursion."""
    x = y = leaf(1)
    for _ in range(20_000):
        y = y + 1
    forgotten = y + 1
    y.backward()
    assert x.grad.item() == 1
    del forgotten, y


def test_gradients_add_up_over_calls():
    """Two backward passes leave the sum, as an accumulated batch needs."""
    x = leaf(2, 3)
    for _ in range(2):
        (x * x).sum().backward()
    np.testing.assert_array_equal(x.grad, 4 * x.data)


def test_gradients_own_their_memory():
    """Changing one gradient in place changes no other, nor the error that was given."""
    a, b, gy = leaf(1, 2), leaf(1, 2), np.ones(2)
    (a + b).backward(gy)
    a.grad *= 5
    np.testing.assert_array_equal((b.grad, gy), np.ones((2, 2)))
    c = leaf(1, 2)
    c.sum().backward()
    c.grad += 1


def test_a_second_walk_is_refused():
    """The graph is freed on the way: walking it, or a part of it, again is one clear sentence."""
    x = leaf(2)
    y = x * x
    loss = y * 3
    loss.backward()
    for again in (loss, y, y + 1):
        with pytest.raises(RuntimeError, match="walked before and is freed; run the forward pass again"):
            again.backward()
    assert x.grad.item() == 12


def test_the_sweep_frees_what_backward_kept():
    """After backward no activation is held by the graph, though its last tensor lives."""
    x = leaf(1)
    y = F.exp(x)
    kept = weakref.ref(y)
    loss = y * y
    del y
    loss.backward()
    gc.collect()
    assert kept() is None and loss.item() > 0


def test_retain_grad():
    """An intermediate result keeps its gradient if asked, and none otherwise."""
    x = leaf(2)
    y = (x * 3).retain_grad()
    z = y * y
    z.backward()
    assert (y.grad.item(), x.grad.item(), z.grad) == (12, 36, None)


def test_no_grad_remembers_nothing():
    """Within no_grad results require no gradient; after it, also after an error, they do."""
    x = leaf(1)
    with pytest.raises(KeyError), lp.no_grad():
        assert (x * 2).creator is None and not (x * 2).requires_grad
        raise KeyError
    assert (x * 2).requires_grad


def test_constants_get_no_gradient():
    """Only what asks for a gradient gets one."""
    x, c = leaf(1), lp.Tensor([2.0])
    (x * c).backward()
    assert c.grad is None


def test_backward_of_nothing_is_refused():
    """Without anything to differentiate by, backward says so."""
    with pytest.raises(RuntimeError, match="backward: no gradient is required"):
        lp.Tensor([1.0]).backward()


@pytest.mark.parametrize(
    ("grad", "words"),
    [
        (None, r"a tensor of shape \(2,\) needs `grad`"),
        (np.ones(3), r"grad has shape \(3,\), the tensor \(2,\)"),
        (1.0, r"grad has shape \(\), the tensor \(2,\)"),
    ],
)
def test_an_error_that_does_not_fit_is_refused(grad, words):
    """The gradient given must have the tensor's shape; the graph is still there afterwards."""
    x = leaf(1, 2)
    y = x * 2
    with pytest.raises(ValueError, match=f"backward: {words}"):
        y.backward(grad)
    y.backward(lp.Tensor([1.0, 1.0]))
    np.testing.assert_array_equal(x.grad, [2, 2])


class Step(lp.Function):
    """A user's operation, 1 where positive, that gives no gradient."""

    def forward(self, x):
        return (x > 0).astype(x.dtype)

    def backward(self, gy):
        return None


def test_an_operation_may_give_no_gradient():
    """None from backward stops that path only."""
    x = leaf(2, 3)
    (Step()(x * 1) + x).sum().backward()
    np.testing.assert_array_equal(x.grad, [1, 1])
    y = leaf(1)
    Step()(y * 1).backward()
    assert y.grad is None


def test_a_function_must_say_what_it_does():
    """The base class computes nothing."""
    with pytest.raises(NotImplementedError):
        lp.Function()(leaf(1))


# Where it rounds


def test_the_sum_of_two_gradients_is_rounded_too():
    """x used twice gets Q(Q(g1) + Q(g2)), bit for bit."""
    x, error = leaf(0.3, 0.7), q(0.25)
    with lp.use(lp.Precision(error=lambda g: np.clip(error(g), -1, 1))):
        y = x * [0.9, 0.2] + x * [0.8, 0.4]
    y.backward(np.ones(2))
    np.testing.assert_array_equal(x.grad, [1, 0.75])  # Q(.9) + Q(.8) = 1.75, clipped; Q(.2) + Q(.4) = .25 + .5


def test_the_sum_at_a_parameter_is_exact():
    """A Parameter used twice gets g1 + g2, for the optimizer to round."""
    p = lp.Parameter([0.3])
    with lp.use(lp.Precision(error=q(0.25))):
        y = p * 0.9 + p * 0.8
    y.backward()
    assert p.grad.item() == np.float32(0.9) + np.float32(0.8)


def test_rounding_undoes_broadcasting_first():
    """A stretched input gets Q of the summed gradient, not the sum of rounded ones."""
    x = leaf(1)
    with lp.use(lp.Precision(error=q(1))):
        y = x * np.full(4, 0.4)
    y.backward(np.ones(4))
    assert x.grad.item() == 2


def test_backward_uses_the_precision_of_forward():
    """The errors round as forward's context said, also outside of it and inside another."""
    x = leaf(1)
    with lp.use(lp.Precision(error=q(0.5))):
        y = x * 0.7
    z = y * 0.9
    with lp.use(lp.Precision(error=q(8))):
        z.backward()
    assert x.grad.item() == 0.5  # Q(0.9 * 0.7)


def test_the_first_error_is_not_rounded():
    """The error that backward starts with is taken as it is."""
    x = leaf(1)
    with lp.use(lp.Precision(error=q(0.5))):
        y = F.reshape(x, (1, 1))
    y.backward([[0.3]])
    assert x.grad.item() == 0.3


def test_contexts_nest_and_end():
    """The innermost `use` counts, None makes a block exact, and an error restores what was."""
    x = lp.Tensor([0.3])
    with lp.use(lp.Precision(activation=q(1))):
        assert (x + 0).item() == 0
        with pytest.raises(KeyError), lp.use(None):
            assert (x + 0).item() == x.item()
            raise KeyError
        assert (x + 0).item() == 0
    assert (x + 0).item() == x.item()


def test_a_layer_computes_exactly_and_rounds_once():
    """Marked by `lower`, a layer of several operations rounds its output and the error reaching it once each."""
    calls = []

    def record(x):
        calls.append(x)
        return np.rint(x * 4) / 4

    class Layer(lp.nn.Module):
        def forward(self, x):
            return F.tanh(x * 0.37 + 0.11)

    def run(layer):
        x = leaf(0.2, 0.9)
        y = layer(x)
        y.backward(np.array([0.3, 0.6]))
        return y.data, x.grad

    exact = Layer()
    lowered = lp.nn.Sequential(Layer())
    assert lp.nn.lower(lowered, record, [Layer]) == {"0": "Layer"}
    y, _ = run(exact)
    low_y, low_grad = run(lowered)
    np.testing.assert_array_equal(low_y, np.rint(y * 4) / 4)
    x = leaf(0.2, 0.9)
    exact(x).backward(np.array([0.25, 0.5]))  # Q of the error
    np.testing.assert_array_equal(low_grad, x.grad)
    assert len(calls) == 2


def test_same_seed_same_bits():
    """Stochastic rounding and dropout, forward and back, repeat to the bit from one seed and differ from another's."""

    def run(seed):
        lp.manual_seed(seed)
        x, w = leaf(*np.linspace(-1, 1, 64)), leaf(*np.linspace(2, 3, 64))
        with lp.use("bfp8"):
            y = F.tanh(F.dropout(x, 0.3) * w)
        y.backward(np.linspace(0, 1, 64))
        return y.data.tobytes() + x.grad.tobytes() + w.grad.tobytes()

    assert run(1) == run(1) != run(2)


@pytest.mark.parametrize("x", [lp.Tensor(1.5), lp.Tensor([1.0, 2.0], requires_grad=True), lp.nn.Parameter(np.ones(2))])
def test_a_deep_copy_is_a_leaf_of_its_own(x):
    """It has the values, the type and the wish for a gradient, and none of the graph or the memory."""
    for tensor in (x, x * 2.0):
        twin = copy.deepcopy(tensor)
        assert type(twin) is type(tensor) and twin.requires_grad == tensor.requires_grad and twin.creator is None
        np.testing.assert_array_equal(twin.data, tensor.data, strict=True)
        assert not np.shares_memory(twin.data, tensor.data)


# A tensor is not an array, but goes where an array goes


def test_a_tensor_becomes_an_array():
    """np.asarray shares the data as `numpy` does; dtype and copy are honoured."""
    x = lp.Tensor(np.float32([1, 2]))
    assert np.shares_memory(np.asarray(x), x.data) and not np.shares_memory(np.array(x), x.data)
    assert np.asarray(x, np.float64).dtype == np.float64 and np.asarray(x).dtype == np.float32
    assert np.asarray(x).tolist() == [1, 2] and np.histogram(x, 2)[0].tolist() == [1, 1]
    with pytest.raises(ValueError, match="without a copy"):
        x.__array__(np.float64, copy=False)


def test_a_tensor_of_one_element_is_a_number():
    """float, int and format ask for the element, of several for NumPy's error; bool too."""
    one, two = lp.Tensor([2.75]), lp.Tensor([1.0, 2.0])
    assert (float(one), int(one), f"{one:.1f}", f"{one}") == (2.75, 2, "2.8", str(one))
    for wrong in (float, int, bool, "{:.3f}".format):
        with pytest.raises((TypeError, ValueError)):
            wrong(two)


def test_iteration_is_over_the_first_axis_and_keeps_the_graph():
    """Rows come as tensors whose gradients flow back; a tensor of no axes is nothing to iterate over."""
    x = leaf([1, 2], [3, 4])
    a, b = x
    (+a * 2 + b).sum().backward()
    np.testing.assert_array_equal(x.grad, [[2, 2], [1, 1]])
    with pytest.raises(TypeError, match="no axes"):
        list(lp.Tensor(1.0))


@pytest.mark.parametrize("name", ["sum", "max", "min", "mean", "var", "std"])
@pytest.mark.parametrize("axis", [0, -1, 1, None, np.int64(0), ()])
@pytest.mark.parametrize("shape", [(), (3,)])
def test_reductions_take_the_axes_that_numpy_takes(name, axis, shape):
    """Also of a tensor of no axes: NumPy's value and shape, or NumPy's error; the gradient has the input's shape.

    NumPy sums one number up along axis 0, but has no mean of it there; PyTorch and lpnet have.
    """
    x = lp.Tensor(np.arange(1.0, 1 + np.prod(shape, dtype=int)).reshape(shape), requires_grad=True)
    try:
        along = None if shape == () and axis in (0, -1) else axis
        expected = getattr(x.data, name)(axis=along)
    except np.exceptions.AxisError:
        with pytest.raises(np.exceptions.AxisError):
            getattr(x, name)(axis=axis)
        return
    y = getattr(x, name)(axis=axis)
    np.testing.assert_allclose(y.data, expected)
    assert y.shape == np.shape(expected)
    y.backward(np.ones(y.shape))
    assert x.grad.shape == shape


@pytest.mark.parametrize("kind", [lp.Tensor, lp.Parameter, lp.nn.Buffer])
def test_a_deep_copy_is_a_leaf_of_the_same_kind(kind):
    """It has copies of data and gradient and the flags, but not the graph, however deep that is."""
    x = kind(np.ones(2))
    x.grad, x.requires_grad, x.mark = np.zeros(2), True, ["kept"]
    new = copy.deepcopy(x)
    assert type(new) is kind and vars(new).keys() == vars(x).keys() and new.requires_grad
    assert new.mark == x.mark and not any(np.shares_memory(a, b) for a, b in ((x.data, new.data), (x.grad, new.grad)))
    y = x
    for _ in range(3000):
        y = y + 1
    last, same = copy.deepcopy([y, y])
    assert last is same and last.creator is None and last.data.tolist() == y.data.tolist()


# Blocks


@pytest.mark.parametrize("block", [lp.no_grad, lambda: lp.use("bfp8")])
def test_a_decorated_generator_is_in_the_block_while_it_computes(block):
    """Each step is within it, what its user does between the steps is not; send, throw and return go through."""
    x = leaf(1.03, 3)

    def inside():
        y = x * 1
        return not y.requires_grad or y.data[0] != x.data[0]

    @block()
    def generator():
        try:
            sent = yield inside()
            yield sent, inside()
        except KeyError:
            yield inside()
        return "end"

    steps = generator()
    assert next(steps) and not inside()
    assert steps.send(5) == (5, True) and not inside()
    assert steps.throw(KeyError) and not inside()
    with pytest.raises(StopIteration, match="end"):
        next(steps)


@pytest.mark.parametrize("block", [lp.no_grad(), lp.use("bfp8")])
def test_a_block_may_be_entered_again(block):
    """One after another and within itself; outside everything is as it was."""
    x = leaf(1.03, 3)
    for _ in range(2):
        with block, block:
            pass
        y = x * 1
        assert y.requires_grad and y.data.tolist() == x.data.tolist()


@pytest.mark.parametrize(
    "op",
    [
        F.sigmoid,
        F.tanh,
        F.gelu,
        F.softmax,
        F.log_softmax,
        lambda x: F.cross_entropy(x, [0]),
        lambda x: x * 1e-30,
    ],
)
def test_what_underflows_is_zero_under_any_error_state(op):
    """np.seterr(all="raise") finds faults, and a number that is too small for its dtype is none."""
    x = leaf([1e-20, 200, -1e-30], dtype=np.float32)
    with np.errstate(all="raise"):
        y = op(x)
        y.backward(np.full(y.shape, 1e-20))
    assert np.isfinite(x.grad).all()
