"""Optimizers against twins in plain NumPy, written from the papers, with recorded deterministic quantizers."""

import numpy as np
import pytest

import lpnet as lp
from lpnet.nn import Parameter
from lpnet.optim import SGD, Adam, AdamW, LossScaler, RMSprop


def grid(step):
    return lambda x: np.floor(x / step + 0.5) * step


QUANTIZERS = {
    "gradient": grid(2**-7),
    "momentum": grid(2**-6),
    "weight": grid(2**-5),
    "accumulator": grid(2**-9),
    "second_moment": grid(2**-8),
}


def recorded(roles, calls):
    """Return a Precision that rounds `roles` and notes each rounding in `calls`."""

    def quantizer(role):
        def q(x):
            calls.append((role, x.copy()))
            return QUANTIZERS[role](x)

        return q

    return lp.Precision(**{role: quantizer(role) for role in roles})


def gradients(steps=12, shape=(3, 4)):
    return np.random.default_rng(0).standard_normal((steps, *shape))


def train(make, roles=(), calls=None):
    """Return the weights after every step of an optimizer on recorded gradients, and its final state."""
    p = Parameter(np.random.default_rng(1).standard_normal((3, 4)))
    optimizer = make([p], recorded(roles, [] if calls is None else calls))
    trajectory = [p.data]
    for g in gradients():
        p.grad = g.copy()
        optimizer.step()
        trajectory.append(p.data)
    return np.array(trajectory), optimizer.state[0]


def algorithm_2(roles, lr, rho=0.0, decay=0.0, nesterov=False):
    """Yang et al., Algorithm 2, element by element as it is printed: v_t = rho Q_M(v) + g, w = Q_W(w - lr v)."""
    q = {role: QUANTIZERS[role] if role in roles else (lambda x: x) for role in QUANTIZERS}
    acc = np.random.default_rng(1).standard_normal((3, 4))
    acc = q["accumulator"](acc)
    w, v, trajectory = q["weight"](acc), np.zeros((3, 4)), []
    trajectory.append(w)
    for g in gradients():
        wide = acc if "accumulator" in roles else w
        g = q["gradient"](g) + decay * wide
        v = rho * q["momentum"](v) + g
        acc = q["accumulator"](wide - lr * (g + rho * v if nesterov else v))
        w = q["weight"](acc)
        trajectory.append(w)
    return np.array(trajectory)


ROLES = [
    (),
    ("weight",),
    ("gradient", "momentum", "weight"),
    ("gradient", "momentum", "weight", "accumulator"),
    ("accumulator", "weight"),
]


@pytest.mark.parametrize("roles", ROLES)
@pytest.mark.parametrize("rho, decay, nesterov", [(0, 0, False), (0.9, 0, False), (0.9, 0.1, False), (0.9, 0.1, True)])
def test_sgd_is_algorithm_2(roles, rho, decay, nesterov):
    """With and without momentum, decay and every rounding, against the paper's lines."""
    weights, _ = train(lambda p, q: SGD(p, 0.1, rho, decay, nesterov, q), roles)
    np.testing.assert_allclose(weights, algorithm_2(roles, 0.1, rho, decay, nesterov), rtol=0, atol=1e-12)


def test_sgd_rounds_gradient_then_momentum_then_accumulator_then_weight():
    """The order in which random bits are taken is part of the contract."""
    calls = []
    train(lambda p, q: SGD(p, 0.1, 0.9, precision=q), ["gradient", "momentum", "weight", "accumulator"], calls)
    start, step = ["accumulator", "weight"], ["gradient", "momentum", "accumulator", "weight"]
    assert [role for role, _ in calls] == start + step * 12
    assert np.array_equal(calls[2][1], gradients()[0])  # the exact gradient comes in


def test_weights_are_on_the_grid_before_the_first_step():
    """Making the optimizer rounds the weights."""
    p = Parameter(np.array([0.3, -0.71]))
    SGD([p], 0.1, precision=lp.Precision(weight=grid(0.25)))
    assert np.array_equal(p.data, [0.25, -0.75])


def adam_twin(lr, b1, b2, eps, decay, decoupled, roles=()):
    """Kingma and Ba, Algorithm 1; Loshchilov and Hutter, Algorithm 2: one number at a time."""
    round_m, round_v = (QUANTIZERS[r] if r in roles else lambda x: x for r in ("momentum", "second_moment"))
    w = np.random.default_rng(1).standard_normal((3, 4))
    trajectory = [w.copy()]
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, gs in enumerate(gradients(), 1):
        for i in np.ndindex(w.shape):
            g = gs[i] + (0 if decoupled else decay * w[i])
            m[i], v[i] = b1 * m[i] + (1 - b1) * g, b2 * v[i] + (1 - b2) * g**2
            step = lr * (m[i] / (1 - b1**t)) / (np.sqrt(v[i] / (1 - b2**t)) + eps)
            w[i] -= step + (lr * decay * w[i] if decoupled else 0)
        m, v = round_m(m), round_v(v)
        trajectory.append(w.copy())
    return np.array(trajectory)


@pytest.mark.parametrize("kind, decoupled", [(Adam, False), (AdamW, True)])
@pytest.mark.parametrize("decay", [0, 0.1])
@pytest.mark.parametrize("roles", [(), ("momentum",), ("second_moment",), ("momentum", "second_moment")])
def test_adam_is_the_papers(kind, decoupled, decay, roles):
    """Against the papers' algorithms, one number at a time; each state is rounded if its role is."""
    weights, state = train(lambda p, q: kind(p, 0.01, (0.8, 0.95), 1e-4, decay, q), roles)
    np.testing.assert_allclose(weights, adam_twin(0.01, 0.8, 0.95, 1e-4, decay, decoupled, roles), atol=1e-12)
    for role, name in (("momentum", "mean"), ("second_moment", "square")):
        assert np.array_equal(QUANTIZERS[role](state[name]), state[name]) == (role in roles)


def rmsprop_twin(lr, alpha, eps, decay, momentum, centered, roles=()):
    """Hinton's and Graves's equations, one number at a time."""
    rounded = {role: QUANTIZERS[role] if role in roles else (lambda x: x) for role in QUANTIZERS}
    w = np.random.default_rng(1).standard_normal((3, 4))
    s, m, v, trajectory = np.zeros_like(w), np.zeros_like(w), np.zeros_like(w), [w.copy()]
    for gs in gradients():
        for i in np.ndindex(w.shape):
            g = gs[i] + decay * w[i]
            s[i] += (1 - alpha) * (g**2 - s[i])
            m[i] += (1 - alpha) * (g - m[i])
            variance = max(0, s[i] - m[i] ** 2) if centered else s[i]
            v[i] = momentum * v[i] + g / (variance**0.5 + eps)
            w[i] -= lr * v[i]
        s, m, v = rounded["second_moment"](s), rounded["momentum"](m), rounded["momentum"](v)
        trajectory.append(w.copy())
    return np.array(trajectory)


@pytest.mark.parametrize(
    "decay, momentum, centered", [(0, 0, False), (0.1, 0, True), (0, 0.9, False), (0.1, 0.9, True)]
)
@pytest.mark.parametrize("roles", [(), ("momentum",), ("second_moment",), ("momentum", "second_moment")])
def test_rmsprop_is_hintons(decay, momentum, centered, roles):
    """Against its equations, one number at a time; each state is rounded if its role is, a negative variance is 0."""
    weights, state = train(lambda p, q: RMSprop(p, 0.01, 0.9, 0.1, decay, momentum, centered, q), roles)
    np.testing.assert_allclose(weights, rmsprop_twin(0.01, 0.9, 0.1, decay, momentum, centered, roles), atol=1e-12)
    assert state.keys() == {"square"} | ({"mean"} if centered else set()) | ({"momentum"} if momentum else set())


def test_adam_rounds_its_states_in_the_order_of_their_definition():
    """Random bits are taken in this order: were it a set's, it would change from process to process."""
    calls = []
    train(lambda p, q: Adam(p, 0.01, precision=q), ["momentum", "second_moment"], calls)
    assert [role for role, _ in calls] == ["momentum", "second_moment"] * 12


def test_adam_corrects_each_parameter_by_its_own_steps():
    """A parameter whose gradients begin late moves as one that is trained alone from then on."""
    early, late, alone = (Parameter(np.ones(3)) for _ in range(3))
    both, one = Adam([early, late], 0.1), Adam([alone], 0.1)
    for step, g in enumerate(gradients(shape=(3,))):
        early.grad = g
        if step >= 7:
            late.grad = alone.grad = g
            one.step()
        both.step()
    assert np.array_equal(late.data, alone.data) and not np.array_equal(late.data, early.data)
    assert [s["t"] for s in both.state] == [12, 5]


def test_adam_goes_on_from_a_state_with_one_count():
    """States of the first version count steps for all parameters at once."""
    p = Parameter(np.ones(3))
    optimizer = Adam([p], 0.1)
    optimizer.load_state_dict({"lr": 0.1, "t": 4, "state": {"0": {"mean": np.ones(3), "square": np.ones(3)}}})
    assert optimizer.state[0]["t"] == 4


@pytest.mark.parametrize("name", ["bfp8", "e4m3", "bf16"])
def test_adam_trains_with_every_number_in_a_narrow_format(name):
    """Digits: below 8 % error after 3 epochs in one narrow format (exact: 3 to 5 %; chance: 90 %)."""
    lp.manual_seed(0)
    train, test = lp.data.load("digits")
    model, precision = lp.models.small_cnn(), lp.Precision.uniform(name)
    lp.fit(
        model,
        lp.data.DataLoader(train, 64, shuffle=True),
        epochs=3,
        precision=precision,
        progress=False,
        optimizer=Adam(model.parameters(), 0.003, precision=precision),
    )
    assert lp.evaluate(model, lp.data.DataLoader(test, 256))["error"] < 8


def test_a_parameter_without_gradient_stays():
    """And zero_grad takes the gradients away."""
    a, b = Parameter(np.ones(2)), Parameter(np.ones(2))
    optimizer = SGD([a, b], 0.5, 0.9)
    a.grad = np.ones(2)
    optimizer.step()
    assert np.array_equal(b.data, np.ones(2)) and np.array_equal(a.data, [0.5, 0.5])
    optimizer.zero_grad()
    assert a.grad is None


def test_a_state_of_other_parameters_is_refused():
    """By number, by accumulator and by shape."""
    one, two = SGD([Parameter(np.ones(3))], 1), SGD([Parameter(np.ones(3)), Parameter(np.ones(2))], 1, 0.9)
    with pytest.raises(ValueError, match=r"1 parameters.*2"):
        two.load_state_dict(one.state_dict())
    wide = SGD([Parameter(np.ones(3))], 1, precision=lp.Precision(accumulator=grid(0.1)))
    with pytest.raises(ValueError, match="accumulator"):
        one.load_state_dict(wide.state_dict())
    with pytest.raises(ValueError, match=r"momentum of parameter 0.*\(2,\).*\(3,\)"):
        one.load_state_dict({"lr": 1, "state": {"0": {"momentum": np.ones(2)}}})


@pytest.mark.parametrize(
    "make, word",
    [
        (lambda p: SGD(p, -1), "lr"),
        (lambda p: SGD(p, float("nan")), "lr"),
        (lambda p: SGD(p, "0.1"), "lr"),
        (lambda p: SGD(p, 1, momentum=-0.1), "momentum"),
        (lambda p: SGD(p, 1, weight_decay=-1), "weight_decay"),
        (lambda p: SGD(p, 1, nesterov=True), "nesterov"),
        (lambda p: SGD([], 1), "params"),
        (lambda p: SGD([lp.Tensor(1.0)], 1), "params"),
        (lambda p: SGD(p + p, 1), "more than once"),
        (lambda p: Adam(p, betas=(0.9, 1.0)), "betas"),
        (lambda p: AdamW(p, eps=-1), "AdamW: eps"),
        (lambda p: RMSprop(p, alpha=1.5), "RMSprop: alpha must be a finite number from 0 to 1"),
        (lambda p: LossScaler(0), "scale"),
        (lambda p: LossScaler(growth_interval=0), "growth_interval"),
    ],
)
def test_a_bad_argument_is_refused_by_name(make, word):
    """When the optimizer is made."""
    with pytest.raises(ValueError, match=word):
        make([Parameter(np.ones(2))])


class TestLossScaler:
    """Scaling and unscaling together."""

    @staticmethod
    def loss(p):
        return (p * p).sum()

    def test_scaling_by_a_power_of_two_and_back_changes_nothing(self):
        """The step is that without a scaler, to the bit."""
        a, b = Parameter(np.array([0.3, 0.7])), Parameter(np.array([0.3, 0.7]))
        plain, scaled, scaler = SGD([a], 0.1), SGD([b], 0.1), LossScaler(2.0**10)
        self.loss(a).backward()
        plain.step()
        scaler.scale(self.loss(b)).backward()
        assert np.array_equal(b.grad, 1024 * a.grad)
        assert scaler.step(scaled) and np.array_equal(a.data, b.data) and scaler.factor == 1024

    def test_errors_too_small_for_the_format_survive(self):
        """What would be rounded to 0 is not, once it is scaled."""

        def gradient(scaler):
            p = Parameter(np.float32([1e-4]))
            with lp.use(lp.Precision(error=grid(2**-8))):
                y = lp.Tensor(np.float32([1e-3])) * (p * 1.0)
                loss = scaler.scale(y.sum())
            loss.backward()
            return p.grad[0] / scaler.factor

        assert gradient(LossScaler(1.0)) == 0 and gradient(LossScaler(2.0**16)) == pytest.approx(1e-3, rel=1e-3)

    def test_the_dynamic_scaler_halves_on_overflow_skips_the_step_and_doubles_after_good_ones(self):
        """A step by step account."""
        p, scaler = Parameter(np.ones(2)), LossScaler(8.0, growth_interval=2)
        optimizer = SGD([p], 0.1)
        p.grad = np.array([np.inf, 1.0])
        assert not scaler.step(optimizer) and scaler.factor == 4 and np.array_equal(p.data, np.ones(2))
        factors = []
        for _ in range(4):
            p.grad = np.ones(2)
            assert scaler.step(optimizer)
            factors.append(scaler.factor)
        assert factors == [4, 8, 8, 16]

    def test_its_state_round_trips(self):
        """Scale and both counts."""
        a, b = LossScaler(8.0, 3), LossScaler(1.0, 3)
        a.good_steps, a.skipped = 2, 5
        b.load_state_dict(a.state_dict())
        assert (b.factor, b.good_steps, b.skipped) == (8.0, 2, 5)

    def test_a_scale_that_decays_to_nothing_stops_with_a_sentence(self):
        """Where no scale helps, training ends with the weights as they were."""
        p, scaler = Parameter(np.ones(2)), LossScaler(2.0**-12, growth_interval=2)
        optimizer = SGD([p], 0.1)
        for skipped in (1, 2):
            p.grad = np.array([np.nan, 1.0])
            assert not scaler.step(optimizer) and scaler.skipped == skipped
        p.grad = np.array([np.nan, 1.0])
        with pytest.raises(FloatingPointError, match=r"not finite even at a scale of .* after 2 skipped steps"):
            scaler.step(optimizer)
        assert scaler.factor == 2.0**-14 and np.array_equal(p.data, np.ones(2))

    def test_a_scale_never_grows_out_of_float32(self):
        """An infinite scale would make every gradient overflow."""
        p, scaler = Parameter(np.ones(2)), LossScaler(2.0**126, growth_interval=1)
        for _ in range(3):
            p.grad = np.zeros(2)
            scaler.step(SGD([p], 0.1))
        assert np.isfinite(np.float32(scaler.factor))


@pytest.mark.parametrize("name", ["lr", "momentum", "weight_decay"])
@pytest.mark.parametrize("value", [-1, np.float32("nan"), np.inf, True, "0.1", None])
def test_a_bad_number_is_refused_when_it_is_set(name, value):
    """Also later, by a schedule; the old number stays."""
    optimizer = SGD([Parameter(np.ones(2))], 0.1)
    with pytest.raises(ValueError, match=f"SGD: {name} must be a finite number"):
        setattr(optimizer, name, value)
    assert optimizer.lr == 0.1


# A precision for each parameter


def layers():
    lp.manual_seed(0)
    return lp.nn.Sequential(lp.nn.Linear(4, 4), lp.nn.Linear(4, 4), lp.nn.Linear(4, 4))


def one_step(model, optimizer):
    for i, p in enumerate(model.parameters()):
        p.grad = np.random.default_rng(i).standard_normal(p.shape).astype(np.float32)
    optimizer.step()


@pytest.mark.parametrize("make", [SGD, Adam])
def test_each_parameter_is_rounded_with_the_most_specific_key(make):
    """What each holds is the same as with an optimizer of its own that has that precision throughout."""
    fine, coarse = lp.Precision(*[lp.Quantizer("bfp8", "nearest")] * 5), lp.Precision.uniform("bfp4", "nearest")
    table = {"*": fine, "1": None, "1.bias": coarse, "*.bias": fine, "2.[w]*": coarse}
    own = {"0.weight": fine, "0.bias": fine, "1.weight": None, "1.bias": coarse, "2.weight": coarse, "2.bias": fine}
    together, apart = layers(), layers()
    one_step(together, make(together.named_parameters(), lr=0.1, precision=table))
    for name, p in apart.named_parameters():
        p.grad = dict(together.named_parameters())[name].grad
        make([p], lr=0.1, precision=own[name]).step()
    assert all(np.array_equal(together.state_dict()[k], v) for k, v in apart.state_dict().items())


def test_pairs_of_name_and_parameter_are_taken_as_parameters():
    """Names are needed for a precision by name only."""
    model = layers()
    optimizer = SGD(model.named_parameters(), lr=0.1)
    assert all(a is b for a, b in zip(optimizer.params, model.parameters(), strict=True))
    assert optimizer.precision == lp.Precision() and not optimizer.overrides


def test_the_accumulator_of_single_parameters_is_saved_and_another_table_refused():
    """A state has accumulators exactly where the table says."""
    model, precision = layers(), lp.Precision(weight="bfp8", accumulator="bfp16")
    optimizer = SGD(model.named_parameters(), lr=0.1, precision={"1.weight": precision})
    assert [("accumulator" in s) for s in optimizer.state] == [False, False, True, False, False, False]
    optimizer.load_state_dict(optimizer.state_dict())
    with pytest.raises(ValueError, match="an accumulator"):
        SGD(model.named_parameters(), lr=0.1, precision={"1.bias": precision}).load_state_dict(optimizer.state_dict())


@pytest.mark.parametrize(
    "named, table, error, words",
    [
        (True, {"*": "bfp8", "1.wieght": None}, ValueError, r"SGD: unknown parameter '1\.wieght', .*1\.weight"),
        (True, {"3.*": None}, ValueError, r"unknown parameter '3\.\*'"),
        (True, {lp.nn.Linear: None}, TypeError, "names of par"),
        (False, {"*": "bfp8"}, ValueError, r"SGD: a precision by name needs names: give model\.named_parameters\(\)"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(named, table, error, words):
    """A key that names no parameter, is no text, or comes without names."""
    model = layers()
    with pytest.raises(error, match=words):
        SGD(model.named_parameters() if named else model.parameters(), lr=0.1, precision=table)


# Weights that come after the optimizer

ROLES = [
    {"weight": "bfp4"},
    {"weight": "fixed8.6", "accumulator": "fixed16.14"},
    {"accumulator": "bfp8"},
    {"weight": "nvfp4"},  # to nearest, too, it moves what is rounded already
    {"weight": grid(2**-5)},
    {"weight": grid(2**-5), "accumulator": grid(2**-9)},
]


def still(optimizer):
    """Take a step with gradients of 0."""
    for p in optimizer.params:
        p.grad = np.zeros_like(p.data)
    optimizer.step()


@pytest.mark.parametrize("make", [SGD, Adam])
@pytest.mark.parametrize("roles", ROLES)
def test_weights_loaded_later_are_rounded_when_the_next_step_begins_and_trained_on(make, roles):
    """They are what an optimizer starts from that is made after them, to nearest; no accumulator brings back others."""
    other = {k: v * 0.7 for k, v in layers().state_dict().items()}
    model, twin = layers(), layers()
    precision = lp.Precision(**{r: lp.Quantizer(q, "nearest") if isinstance(q, str) else q for r, q in roles.items()})
    optimizer = make(model.parameters(), lr=0.1, precision=precision)
    still(optimizer)
    model.load_state_dict(other)
    twin.load_state_dict(other)
    still(optimizer)
    still(make(twin.parameters(), lr=0.1, precision=precision))
    assert all(np.array_equal(v, twin.state_dict()[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize("roles", ROLES)
@pytest.mark.parametrize("order", [("model", "optimizer"), ("optimizer", "model")])
def test_weights_loaded_with_the_state_go_on_to_the_same_bits_in_either_order(roles, order):
    """Rounded weights are not moved, the accumulator is not lost, and no random bits are drawn."""
    whole, again = (
        {"model": m, "optimizer": SGD(m.parameters(), 0.1, 0.9, precision=lp.Precision(**roles))}
        for m in (layers(), layers())
    )
    one_step(**whole)
    states = {name: part.state_dict() for name, part in whole.items()}
    site = lp.random.default.site
    one_step(**whole)
    for name in order:
        again[name].load_state_dict(states[name])
    lp.random.default.site = site
    one_step(**again)
    assert all(np.array_equal(v, again["model"].state_dict()[k]) for k, v in whole["model"].state_dict().items())


def test_the_accumulator_keeps_what_was_not_changed():
    """Weights put in place by hand replace the accumulator where they differ, and only there."""
    model = layers()
    optimizer = SGD(model.parameters(), 0.1, precision=lp.Precision(weight="fixed8.4", accumulator="fixed16.12"))
    accumulator, p = optimizer.state[0]["accumulator"].copy(), model[0].weight
    clipped = np.clip(p.data, -0.125, None)
    kept, p.data = clipped == p.data, clipped
    still(optimizer)
    assert 0 < kept.sum() < p.size
    assert np.array_equal(optimizer.state[0]["accumulator"], np.where(kept, accumulator, clipped))
