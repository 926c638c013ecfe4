"""Recipes give what the papers say, and are found by name."""

import numpy as np
import pytest

import lpnet as lp
from lpnet import functions as F
from lpnet import nn, recipes

from .test_products import blocked, differentiated, hadamard

PRODUCTS = [name for name in recipes.names() if recipes.RECIPES[name]().products is not None]


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_is_a_precision_and_says_its_source(name):
    make = recipes.RECIPES[name]
    assert isinstance(make(), lp.Precision) and make is getattr(recipes, name) and make().name == name
    assert all(words in make.__doc__ for words in ("Source: ", "et al.", "arXiv "))


@pytest.mark.parametrize("name", recipes.names())
def test_text_of_a_recipe_names_what_it_rounds(name):
    """Within 80 columns: a line for each operand that has a format, each role, and the source."""
    recipe, text = recipes.RECIPES[name](), recipes.describe(name)
    assert max(map(len, text.splitlines())) <= 80 and "Source: " in text
    operands = [line for line in text.splitlines() if "--[ " in line]
    assert len(operands) == (6 if recipe.products is not None else 0)
    for role in lp.precision.ROLES:
        assert (f"\n  {role} " in text) == (getattr(recipe, role) is not None)


def test_the_list_has_each_recipe_with_its_source():
    lines = recipes.listing().splitlines()
    assert [line.split()[0] for line in lines if line[0] != " "] == recipes.names()
    assert max(map(len, lines)) <= 80 and recipes.listing().count("arXiv") == len(recipes.names())


def layers():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 5), nn.Tanh())


def products_of(model):
    return [name for name, m in model.named_modules() if m.precision is not None and m.precision.products is not None]


@pytest.mark.parametrize("name", PRODUCTS)
def test_lower_gives_products_to_all_layers_that_multiply_but_those_that_stay_in_float(name):
    """Also to a convolution that leaves its output to an activation; NVFP4 and LUQ except the first and the last."""
    recipe, model = recipes.RECIPES[name](), layers()
    marked = nn.lower(model, recipe)
    assert list(marked) == products_of(model) == (["2"] if recipe.exact else ["0", "2", "4"])


@pytest.mark.parametrize(
    "exact, left",
    [
        ((), ["0", "2", "4"]),
        ("first", ["2", "4"]),
        (("2", "last"), ["0"]),
        ((nn.Linear,), ["0", "2"]),
        ("0", ["2", "4"]),
    ],
)
def test_layers_stay_in_float_by_name_and_by_type(exact, left):
    """Whether the recipe or `lower` is told."""
    for told in (
        lambda model: nn.lower(model, recipes.nvfp4(exact=exact)),
        lambda model: nn.lower(model, recipes.nvfp4(), exact=exact),
    ):
        model = layers()
        told(model)
        assert products_of(model) == left


def test_products_beside_roles_leave_outputs_to_activations():
    """A convolution before a ReLU has its products, and its output is rounded once, behind the ReLU."""
    model = layers()
    nn.lower(model, lp.Precision(activation="bfp8", products="mxfp8_e4m3"))
    assert products_of(model[0]) == [""] and model[0].precision.activation is None
    assert model[1].precision.activation is not None and model[4].precision.activation is None


@pytest.mark.parametrize(
    "refused, words",
    [
        (
            lambda: nn.lower(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)), recipes.luq()),
            ["luq", "first, last"],
        ),
        (lambda: nn.lower(nn.Sequential(nn.ReLU()), recipes.mxfp8()), ["mxfp8", "no layer that multiplies"]),
        (lambda: nn.lower(layers(), recipes.mxfp8(exact="conv")), ["unknown layer 'conv'"]),
        (lambda: nn.lower(layers(), recipes.mxfp8(exact=(3,))), ["exact", "types or names", "3"]),
        (lambda: recipes.nvfp4(rotate=12), ["rotate", "power of two", "12"]),
        (lambda: recipes.fp8_delayed(history=-1), ["history", "-1"]),
        (lambda: recipes.describe("nvfp5"), ["unknown recipe 'nvfp5'", "nvfp4"]),
    ],
)
def test_a_recipe_for_layers_that_are_not_there_is_one_sentence(refused, words):
    with pytest.raises((ValueError, TypeError)) as error:
        refused()
    assert all(word in str(error.value) for word in words) and "\n" not in str(error.value)


def gaussian(*shapes):
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape) for shape in shapes]


def test_mxfp8_never_saturates():
    """By the rule ceil the largest number of a block is at most e4m3's: its error is at most half a gap."""
    x, W = gaussian((8, 64), (5, 64))
    y = differentiated(F.linear, recipes.mxfp8().products, np.ones((8, 5)), x * 1000, W)[0]
    name = "mxfp8_e4m3:ceil"
    np.testing.assert_allclose(y, blocked(name, x * 1000, 1) @ blocked(name, W, 1).T, rtol=1e-12)
    assert (abs(blocked(name, x, 1) - x) <= 2.0**-4 * abs(x) + 2.0**-10 * abs(x).max()).all()


def test_nvfp4_has_the_same_weights_forward_and_backward():
    """W^T in blocks of 16x16 is that of W transposed, unrotated; gy is one of its two neighbours, by chance."""
    products, (W, gy) = recipes.nvfp4().products, gaussian((48, 32), (8, 48))
    np.testing.assert_array_equal(products.operand("W", W, 1), products.operand("W_input", W, 0))
    drawn = products.operand("gy_input", gy, 1)
    low, high = (lp.quantize(gy, lp.format("nvfp4"), mode) for mode in ("floor", "ceil"))
    assert ((drawn == low) | (drawn == high)).all() and (drawn == low).any() and (drawn == high).any()


def test_deepseek_scales_lines_and_squares():
    """A number of x is scaled by the largest of its 128 neighbours, one of W by that of its square."""
    products, (x, W) = recipes.deepseek_v3().products, gaussian((3, 300), (200, 300))
    for name, a, cut in (("x", x, np.s_[1:2, 128:256]), ("W", W, np.s_[128:200, 256:300])):
        block = a[cut]
        scale = np.float32(abs(block).max() / 448)
        expected = lp.quantize(block / scale, "e4m3") * scale
        np.testing.assert_allclose(products.operand(name, a, 1)[cut], expected, rtol=1e-15)
    assert recipes.deepseek_v3(sums=True).products.accumulate == lp.Accumulator(add="e8m13", every=128, outer="fp32")


def turned(x, axis=-1):
    """Return x times a block of 32 of the Hadamard matrix with the fixed signs, along an axis; the rest as it is."""
    n = x.shape[axis]
    R = np.eye(n)
    for i in range(0, n // 32 * 32, 32):
        R[i : i + 32, i : i + 32] = hadamard(32)
    return np.moveaxis(np.moveaxis(x, axis, -1) @ R, -1, axis), R


def test_quartet_gives_clipped_numbers_no_gradient():
    """In the rotated space, where a block's ends are; and what backward products get is what forward ones have used."""
    x, W, gy = gaussian((40, 70), (50, 70), (40, 50))
    x[:, 3] *= 5
    forward = lp.Operand("mxfp4_e2m1:rms", rotate=32, mask=True)
    y, gx, gW = differentiated(F.linear, lp.Products(x=forward, W=forward, reuse=True), gy, x, W)
    (xt, R), (Wt, _) = turned(x), turned(W)
    xq, Wq = (blocked("mxfp4_e2m1:rms", a, 1) for a in (xt, Wt))

    def within(a):  # 6 scales, by the definition of the rule
        rms = [np.sqrt((a[:, i : i + 32] ** 2).mean(1, keepdims=True)) for i in range(0, 70, 32)]
        ends = np.repeat(6 * 2.0 ** np.floor(np.log2(np.hstack(rms) * 2.92247856 / 6)), 32, axis=1)[:, :70]
        return abs(a) <= ends

    assert 0 < (~within(xt)).sum() < xt.size / 10
    np.testing.assert_allclose(y, xq @ Wq.T, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(gx, ((gy @ Wq) * within(xt)) @ R.T, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(gW, ((gy.T @ xq) * within(Wt)) @ R.T, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("function", [F.conv2d, F.conv_transpose2d])
@pytest.mark.parametrize("reuse", [False, True])
def test_rotations_cancel_in_the_gradients_of_a_convolution(function, reuse):
    """Operands of double precision, rotated with signs drawn anew, masked and used again, change nothing."""
    x, W = gaussian((35, 40, 5, 5), (40, 40, 3, 3))
    (gy,) = gaussian(function(x, W).shape)
    operand = lp.Operand("e11m52", rotate=16, redraw=True, mask=True)
    products = lp.Products(operand, operand, operand, operand, operand, operand, reuse=reuse)
    for a, b in zip(
        differentiated(function, products, gy, x, W), differentiated(function, None, gy, x, W), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def test_signs_are_drawn_once_a_product():
    """Two products of one seed are the same, of another seed not; both operands of one have the same signs."""
    x, W = gaussian((4, 32), (5, 32))
    found = []
    for seed in (0, 0, 1):
        lp.manual_seed(seed)
        operand = lp.Operand("mxfp4_e2m1", rotate=32, redraw=True)
        with lp.use(lp.Precision(products=lp.Products(x=operand, W=operand))):
            found.append(F.linear(x, W).data)
    assert (found[0] == found[1]).all() and (found[0] != found[2]).any()
    assert abs(found[0] - x @ W.T).mean() < 0.5 * abs(x @ W.T).mean()


def test_luq_rounds_errors_without_bias_to_powers_of_two():
    """Each lies between its neighbours, 0 and seven powers up to the largest; by chance, so that the mean is it."""
    (gy,) = gaussian((16, 64))
    operand = recipes.luq().products.gy_input
    top = abs(gy).max()
    steps = np.concatenate([[0], top / 2.0 ** np.arange(6, -1, -1)])
    drawn = np.stack([operand(gy) for _ in range(400)])
    seen = np.unique(abs(drawn))
    np.testing.assert_allclose(seen, steps, rtol=1e-6)
    place = np.searchsorted(steps, abs(gy), side="right").clip(1, 7) - 1
    deviation = np.sqrt((steps[place + 1] - abs(gy)) * (abs(gy) - steps[place]).clip(0)) / 20  # of the mean of 400
    assert (abs(drawn.mean(0) - gy) <= 5 * deviation + 1e-6 * top).all()


def test_delayed_scales_are_of_the_steps_before():
    """The first has its own; then the largest of the last three; what is evaluated leaves nothing behind."""
    layer, recipe = nn.Sequential(nn.Linear(4, 2)), recipes.fp8_delayed(history=3)
    nn.lower(layer, recipe)
    magnitudes = [1.0, 8.0, 2.0, 4.0, 1.0, 1.0, 1.0]
    expected = [1.0, 1.0, 8.0, 8.0, 8.0, 4.0, 4.0]
    rng = np.random.default_rng(0)
    for magnitude, scale in zip(magnitudes, expected, strict=True):
        x = rng.uniform(-1, 1, (3, 4)).astype(np.float32)
        x[0, 0] = 1
        with lp.no_grad():
            layer(lp.Tensor(x * 100))
        y = layer(lp.Tensor(x * np.float32(magnitude)))
        y.sum().backward()
        s = np.float32(scale / 448)
        operand = lp.quantize(x * np.float32(magnitude) / s, "e4m3") * s
        w = layer[0].weight.data
        t = np.float32(abs(w).max() / 448)
        np.testing.assert_allclose(y.data, operand @ (lp.quantize(w / t, "e4m3") * t).T + layer[0].bias.data, rtol=1e-5)
    seen = layer[0].precision.products.x.seen
    assert set(seen) == {"x", "W"} and seen["x"].tolist() == [1, 1, 1]
    assert recipe.products.x.seen == {}  # each layer has a memory of its own


def test_a_resumed_training_has_its_history(tmp_path):
    """Stopped in its midst, the run goes on to the same bits; with a shorter history it ends with others."""
    train, _ = lp.data.load("digits")
    train = train[:300]

    def run(out, stop=None, resume=False, history=8):
        lp.manual_seed(0)
        model = lp.models.small_cnn()
        nn.lower(model, recipes.fp8_delayed(history=history))
        optimizer = lp.optim.SGD(model.parameters(), 0.2, 0.9)

        class Stop(lp.training.Callback):
            def on_step(self, run):
                if run.step == stop:
                    raise KeyboardInterrupt

        loader = lp.data.DataLoader(train, 50, shuffle=True)
        lp.fit(model, loader, epochs=3, optimizer=optimizer, out=out, resume=resume, progress=False, callbacks=[Stop()])
        return model.state_dict()

    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped", stop=11)
    saved = lp.load(tmp_path / "stopped" / "checkpoint.npz")["run"]["functions"]
    assert sum(name.endswith("products.x") for name in saved) == 3
    resumed = run(tmp_path / "stopped", resume=True)
    assert all((whole[name] == resumed[name]).all() for name in whole)
    other = run(tmp_path / "other", history=3)
    assert not all((whole[name] == other[name]).all() for name in whole)


def test_wage_gives_clipped_activations_no_error():
    """A ReLU's output beyond 1 - 2^-7 is clipped, and its input gets no gradient; all others do."""
    relu = nn.Sequential(nn.ReLU())
    nn.lower(relu, recipes.wage())
    x = lp.Tensor(np.float32([-1, 0.25, 127 / 128, 0.999, 3]), requires_grad=True)
    with lp.trace(relu):
        y = relu(x)
        y.backward(np.ones(5, np.float32))
    np.testing.assert_array_equal(y.data, np.float32([0, 32, 127, 127, 127]) / 128)
    np.testing.assert_array_equal(x.grad != 0, [False, True, True, False, False])


def test_bf16_kahan_collects_what_weights_swallow():
    """A hundred steps of 2^-10 move a weight of 1, whose gap is 2^-7, by their sum; without compensation not at all."""
    moved = []
    for precision in (recipes.bf16_kahan(), lp.Precision(weight=lp.Quantizer("bf16", "nearest"))):
        w = lp.Parameter(np.ones(3, np.float32))
        optimizer = lp.optim.SGD([w], lr=2.0**-10, precision=precision)
        for _ in range(128):
            w.grad = -np.ones(3, np.float32)
            optimizer.step()
        moved.append(w.data[0] - 1)
    assert optimizer.compensate is False and moved == [0.125, 0]


def test_ibm8_adds_in_chunks_of_64_where_it_is_asked_to():
    """A product of a lowered layer is that of fractions added up in e6m9, 64 terms at a time."""
    layer = nn.Sequential(nn.Linear(130, 3, bias=False))
    nn.lower(layer, recipes.ibm8(sums=True))
    (x,) = gaussian((2, 130))
    x = x.astype(np.float32)
    parts = lp.Accumulator(add=recipes.FP16, every=64, outer=recipes.FP16).matmul(x, layer[0].weight.data.T)
    np.testing.assert_array_equal(layer(lp.Tensor(x)).data, parts)
    assert recipes.ibm8().products is None and recipes.ibm8().loss_scale == 1000


@pytest.mark.parametrize("name", PRODUCTS)
def test_a_layer_in_a_recipe_has_the_same_bits_for_any_number_of_threads(name):
    """A step of a convolution and a linear layer, by one, two and three threads."""
    before, found = lp.get_num_threads(), []
    x = np.random.default_rng(0).standard_normal((40, 33, 20, 20)).astype(np.float32)
    for n in (1, 2, 3):
        lp.set_num_threads(n)
        lp.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(33, 20, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(1620, 10))
        nn.lower(model, recipes.RECIPES[name](), exact=())
        y = model(lp.Tensor(x, requires_grad=True))
        y.backward(np.ones(y.shape, np.float32))
        found.append([y.data, *(p.grad for p in model.parameters())])
    lp.set_num_threads(before)
    for a, b, c in zip(*found, strict=True):
        assert (a == b).all() and (a == c).all()


def test_an_unknown_recipe_is_told_the_nearest():
    with pytest.raises(ValueError, match="unknown recipe 'ibm', did you mean ibm8"):
        recipes.RECIPES["ibm"]


def test_swalp_rounds_five_roles_in_blocks_of_a_channel_or_a_tensor():
    """A block has one exponent: what is small beside the largest of its block becomes 0 or one step."""
    x = np.float32([[1, 1e-4], [1e-4, 1e-4]])
    small, big = recipes.swalp(4), recipes.swalp(4, big_block=True)
    for role in ("weight", "activation", "error", "gradient", "momentum"):
        assert 0 < getattr(small, role)(x)[1].max() < 2e-4 and getattr(big, role)(x)[1].max() in (0, 0.25)
    assert small.accumulator is small.average is None


def test_ibm8_accumulates_in_16_bits_and_computes_in_8():
    w = lp.Parameter(np.linspace(-1, 1, 50, dtype=np.float32))
    optimizer = lp.optim.SGD([w], lr=0.1, momentum=0.9, precision=recipes.ibm8())
    w.grad = np.full(50, 1e-3, np.float32)
    optimizer.step()
    held = optimizer.state[0]["accumulator"]
    np.testing.assert_array_equal(held, lp.quantize(held, recipes.FP16))
    np.testing.assert_array_equal(w.data, lp.quantize(held, recipes.FP8, "nearest_away"))
    assert recipes.FP8.max == (2 - 2.0**-2) * 2.0**16  # QPyTorch's, which has no infinity


def test_wage_trains_ternary_weights_that_move_by_its_gradients_grid():
    w = lp.Parameter(np.random.default_rng(0).uniform(-0.5, 0.5, (8, 100)).astype(np.float32))
    optimizer = lp.optim.SGD([w], lr=1.0, precision=recipes.wage(lr=8.0))
    scale, before = recipes.layer_scale(w.shape), optimizer.state[0]["accumulator"].copy()
    w.grad = np.random.default_rng(1).standard_normal((8, 100)).astype(np.float32) * 1e-5
    optimizer.step()
    moved = (before - optimizer.state[0]["accumulator"]) * 128
    inside = abs(optimizer.state[0]["accumulator"]) < 0.5
    np.testing.assert_allclose(moved[inside], np.rint(moved[inside]), atol=1e-4)
    assert 4 <= abs(moved[inside]).max() <= 8  # the largest gradient counts as between 1/2 and 1, times lr
    assert set(np.unique(w.data * scale)) <= {-0.5, 0.0, 0.5}


@pytest.mark.parametrize("shape, scale", [((8, 3, 3, 3), 2.0), ((128, 128, 3, 3), 8.0), ((10, 6), 1.0)])
def test_wage_scales_layers_by_their_inputs(shape, scale):
    """2^round(log2(0.75 sqrt(inputs / 6))), at least 1: by hand."""
    assert recipes.layer_scale(shape) == scale


def test_shifted_brings_the_largest_into_a_half_to_one():
    for largest in (1e-9, 0.5, 0.75, 1.0, 3.0, 4.0):
        x = np.array([largest, -largest / 3], np.float32)
        y = recipes.shifted(x)
        assert 0.5 < abs(y).max() <= 1 and np.log2(x[0] / y[0]) == int(np.log2(x[0] / y[0]))
    assert not recipes.shifted(np.zeros(3, np.float32)).any()


def test_the_first_step_of_fit_masks_what_was_clipped():
    """`fit` looks on in the first step, at the ends of formats, and the errors are those of a loop of one's own."""
    x, y = np.random.default_rng(0).standard_normal((8, 6)).astype(np.float32), np.arange(8) % 3
    precision = lp.Precision(activation=lp.Quantizer("fixed4.3", "nearest", mask=True))
    weights = []
    for steps in ("fit", "loop"):
        lp.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))
        nn.lower(model, precision)
        optimizer = lp.optim.SGD(model.parameters(), 0.5)
        if steps == "fit":
            lp.fit(model, lp.data.DataLoader((x, y), 8), epochs=1, optimizer=optimizer, progress=False)
        else:
            F.cross_entropy(model(lp.Tensor(x)), y).backward()
            optimizer.step()
        weights.append([p.numpy() for p in model.parameters()])
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)
