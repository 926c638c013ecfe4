"""lpnet's formats inside PyTorch: autograd, optimizers, states, workers."""

import copy
import io

import numpy as np
import pytest

import lpnet as lp

torch = pytest.importorskip("torch", reason="PyTorch is not installed: lpnet.interop.torch is not tried")

from lpnet.interop.torch import RoundedOptimizer, Rounding, quantize  # noqa: E402


def tensor(*shape, seed=0):
    """Return random numbers."""
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def bits(x):
    return x.detach().numpy().tobytes()


def test_forward_and_backward_each_round_to_their_format():
    """The result has the bits of lp.quantize, the gradient those of the gradient that came, rounded."""
    x, gy = tensor(6, 5).requires_grad_(), tensor(6, 5, seed=1)
    layer = Rounding(lp.Quantizer("fixed8.6", "nearest"), lp.Quantizer("e5m2", "nearest"))
    y = layer(x)
    y.backward(gy)
    assert bits(y) == lp.quantize(x.detach().numpy(), "fixed8.6").tobytes()
    assert bits(x.grad) == lp.quantize(gy.numpy(), "e5m2").tobytes()


@pytest.mark.parametrize(("forward", "backward"), [("e4m3", None), (None, "e4m3"), (None, None)])
def test_none_is_exact(forward, backward):
    """A side without a format passes bits through."""
    x, gy = tensor(6, 5).requires_grad_(), tensor(6, 5, seed=1)
    y = quantize(x, forward, backward)
    y.backward(gy)
    assert (bits(y) == bits(x)) == (forward is None)
    assert (bits(x.grad) == bits(gy)) == (backward is None)


def test_stochastic_rounding_draws_from_lpnets_stream():
    """One seed of lpnet, one result, whatever torch's generator does."""
    lp.manual_seed(5)
    first = quantize(tensor(100), "bfp4")
    torch.manual_seed(1)
    second = quantize(tensor(100), "bfp4")
    lp.manual_seed(5)
    torch.manual_seed(2)
    assert bits(quantize(tensor(100), "bfp4")) == bits(first) != bits(second)


def test_gradients_of_gradients():
    """The derivative of what passes straight through is straight, too: d/dx of (d/dx of q(x)^2) is 2 for exact q."""
    x = tensor(4).requires_grad_()
    (gx,) = torch.autograd.grad((quantize(x) ** 2).sum(), x, create_graph=True)
    (gxx,) = torch.autograd.grad(gx.sum(), x)
    assert (gxx == 2).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes(dtype):
    """Halves are rounded in float32, and come back as they came; float64 in its own precision."""
    x = tensor(50).to(dtype)
    y = quantize(x, lp.Quantizer("e4m3", "nearest"))
    wide = x.numpy() if dtype == torch.float64 else x.float().numpy()
    assert y.dtype == dtype and bits(y.double()) == lp.quantize(wide, "e4m3").astype(np.float64).tobytes()


def test_strided_tensors_are_rounded_as_their_copy():
    """A transposed tensor gets the bits of its contiguous copy."""
    x = tensor(6, 5).T
    assert bits(quantize(x, lp.Quantizer("bfp8", "nearest"))) == lp.quantize(np.ascontiguousarray(x), "bfp8").tobytes()


@pytest.mark.filterwarnings("default")  # the tracer warns of its own doings
def test_compiled_models_leave_the_graph_for_it():
    """torch.compile gives the same bits: it calls NumPy between two graphs."""
    layer = torch.nn.Sequential(torch.nn.Linear(5, 4), Rounding(lp.Quantizer("bfp8", "nearest")), torch.nn.ReLU())
    x = tensor(3, 5)
    compiled = torch.compile(copy.deepcopy(layer), backend="eager")
    assert bits(compiled(x)) == bits(layer(x))


class Rounded(torch.utils.data.Dataset):
    """Numbers that are rounded where they are loaded."""

    def __len__(self):
        return 8

    def __getitem__(self, i):
        return quantize(tensor(1 << 18, seed=i), lp.Quantizer("bfp8", "nearest"))  # enough for two threads


@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")  # JAX, where it is installed, says so
@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_in_workers_of_a_data_loader(context):
    """Workers, forked while lpnet's threads are there or spawned, round to the same bits."""
    here = list(torch.utils.data.DataLoader(Rounded(), batch_size=4))
    loader = torch.utils.data.DataLoader(Rounded(), batch_size=4, num_workers=2, multiprocessing_context=context)
    for mine, theirs in zip(here, loader, strict=True):
        assert bits(mine) == bits(theirs)


def regression(precision, inner=torch.optim.SGD, **options):
    """Return a model, its optimizer and a function that takes a step of least squares."""
    torch.manual_seed(0)
    model = torch.nn.Linear(6, 3)
    optimizer = inner(model.parameters(), **options)
    optimizer = optimizer if precision is None else RoundedOptimizer(optimizer, precision)

    def step(seed):
        optimizer.zero_grad()
        loss = ((model(tensor(16, 6, seed=seed)) - 1) ** 2).mean()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return model, optimizer, step


NEAREST = lp.Precision(**{role: lp.Quantizer("e4m3", "nearest") for role in ("weight", "gradient", "momentum")})


def on_grid(x, fmt="e4m3"):
    return bits(x) == lp.quantize(x.detach().numpy(), fmt).tobytes()


def test_weights_gradients_and_momentum_are_on_their_grids():
    """After a step, and the weights from the start."""
    model, optimizer, step = regression(NEAREST, lr=0.1, momentum=0.9)
    assert on_grid(model.weight) and on_grid(model.bias)
    for seed in range(3):
        step(seed)
        assert on_grid(model.weight) and on_grid(model.weight.grad)
        assert on_grid(optimizer.state[model.weight]["momentum_buffer"])


def test_exact_is_the_optimizer_itself():
    """A precision that rounds nothing changes no bit."""
    (plain, _, step), (wrapped, _, rounded_step) = (regression(p, lr=0.1, momentum=0.9) for p in (None, lp.Precision()))
    for seed in range(5):
        assert step(seed) == rounded_step(seed)
    assert bits(plain.weight) == bits(wrapped.weight)


def test_a_step_is_that_of_lpnets_own_optimizer():
    """On numbers whose sums and products are exact, the wrapped SGD and lp.optim.SGD go the same way, bit for bit."""
    formats = {"weight": "fixed8.4", "gradient": "fixed6.2", "momentum": "fixed8.3", "accumulator": "fixed12.8"}
    precision = lp.Precision(**{role: lp.Quantizer(fmt, "nearest") for role, fmt in formats.items()})
    rng = np.random.default_rng(0)
    start, gradients = rng.integers(-40, 40, 64) / 16, rng.integers(-30, 30, (6, 64)) / 8
    ours = lp.Parameter(start.astype(np.float32))
    theirs = torch.nn.Parameter(torch.from_numpy(start.astype(np.float32)))
    our_step = lp.optim.SGD([ours], lr=0.125, momentum=0.5, precision=precision)
    their_step = RoundedOptimizer(torch.optim.SGD([theirs], lr=0.125, momentum=0.5), precision)
    for g in gradients.astype(np.float32):
        ours.grad, theirs.grad = g.copy(), torch.from_numpy(g.copy())
        our_step.step()
        their_step.step()
        assert bits(theirs) == ours.data.tobytes()
    assert bits(their_step.accumulators[theirs]) == our_step.state[0]["accumulator"].tobytes()


def test_adams_second_moment_stays_exact_unless_it_is_named():
    """In 8 bits most of it is 0, and dividing by it diverges: `uniform` leaves it alone, as lp.optim.Adam does."""
    model, optimizer, step = regression(NEAREST, torch.optim.Adam, lr=0.01)
    step(0)
    state = optimizer.state[model.weight]
    assert on_grid(state["exp_avg"]) and not on_grid(state["exp_avg_sq"])
    named = lp.Precision(second_moment=lp.Quantizer("bf16", "nearest"))
    model, optimizer, step = regression(named, torch.optim.Adam, lr=0.01)
    step(0)
    assert on_grid(optimizer.state[model.weight]["exp_avg_sq"], "bf16")


ACCUMULATED = lp.Precision(weight="bfp4", gradient="bfp8", momentum="bfp8", accumulator="bf16")


def test_the_accumulator_collects_what_the_weights_swallow():
    """Steps far below the weights' gap move them in the end; without an accumulator rounding swallows every one."""
    for accumulator, moves in ((None, False), (lp.Quantizer("fp32", "nearest"), True)):
        p = torch.nn.Parameter(torch.ones(4))
        precision = lp.Precision(weight=lp.Quantizer("fixed4.1", "nearest"), accumulator=accumulator)
        optimizer = RoundedOptimizer(torch.optim.SGD([p], lr=1.0), precision)
        for _ in range(10):
            p.grad = torch.full((4,), 0.1)
            optimizer.step()
        assert bool((p < 1).all()) == moves


def test_weights_put_in_place_between_steps_count():
    """Clipping, through .data or not, changes the weights that the accumulator was behind, and only those."""
    p = torch.nn.Parameter(torch.tensor([0.3, 3.0]))
    precision = lp.Precision(weight=lp.Quantizer("fixed4.1", "nearest"), accumulator=lp.Quantizer("fp32", "nearest"))
    optimizer = RoundedOptimizer(torch.optim.SGD([p], lr=1.0), precision)
    p.data.clamp_(-1, 1)
    p.grad = torch.zeros(2)
    optimizer.step()
    np.testing.assert_array_equal(optimizer.accumulators[p].numpy(), np.float32([0.3, 1]))


OWN_STREAM = lp.Precision(weight=lp.Quantizer("bfp4", stream=lp.random.Stream(9)), gradient="bfp8")


@pytest.mark.parametrize("precision", [NEAREST, ACCUMULATED, OWN_STREAM])
def test_a_saved_run_goes_on_to_the_bit(precision):
    """Model and optimizer, saved after three steps and loaded elsewhere, end where the run that went on does."""
    model, optimizer, step = regression(precision, lr=0.1, momentum=0.9)
    for seed in range(3):
        step(seed)
    file = io.BytesIO()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
    for seed in range(3, 6):
        step(seed)
    expected = bits(model.weight)
    other, other_optimizer, other_step = regression(precision, lr=0.3, momentum=0.9)
    other_step(77)
    lp.manual_seed(1234)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    other_optimizer.load_state_dict(saved["optimizer"])
    other.load_state_dict(saved["model"])
    for seed in range(3, 6):
        other_step(seed)
    assert bits(other.weight) == expected


def test_states_of_other_optimizers_are_refused():
    """In a sentence, and before anything is loaded."""
    plain = regression(None, lr=0.1)[1].state_dict()
    held = regression(ACCUMULATED, lr=0.2)[1].state_dict()
    _, optimizer, _ = regression(NEAREST, lr=0.1)
    with pytest.raises(ValueError, match="no entry 'lpnet'"):
        optimizer.load_state_dict(plain)
    with pytest.raises(ValueError, match="accumulators are not those"):
        optimizer.load_state_dict(held)
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_schedulers_closures_and_groups():
    """A scheduler moves the inner rate, also after a state was loaded; a closure runs once; a group may come later."""
    model, optimizer, step = regression(ACCUMULATED, lr=1.0)
    optimizer.load_state_dict(optimizer.state_dict())
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    step(0)
    scheduler.step()
    assert optimizer.optimizer.param_groups[0]["lr"] == 0.5
    calls = []

    def closure():
        calls.append(1)
        loss = (model.weight**2).sum()
        loss.backward()
        return loss

    assert float(optimizer.step(closure).detach()) > 0 and calls == [1]
    late = torch.nn.Parameter(torch.ones(3))
    optimizer.add_param_group({"params": [late]})
    late.grad = torch.ones(3)
    optimizer.step()
    assert late in optimizer.accumulators


def test_loss_scaling_by_torchs_own_scaler():
    """torch.amp.GradScaler takes the wrapper for an optimizer: gradients are unscaled before they are rounded."""
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    (plain, optimizer, _), (scaled, scaled_optimizer, _) = (regression(NEAREST, lr=0.5) for _ in range(2))
    x = tensor(16, 6)
    plain(x).square().mean().backward()
    optimizer.step()
    scaler.scale(scaled(x).square().mean()).backward()
    scaler.step(scaled_optimizer)
    scaler.update()
    assert bits(plain.weight) == bits(scaled.weight)


def test_repr_shows_the_rules():
    """A layer says what it rounds to."""
    assert "Rounding(forward=Quantizer('bfp8', 'stochastic'), backward=None)" in repr(Rounding("bfp8"))
