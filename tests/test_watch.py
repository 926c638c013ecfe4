"""`watch`: what it counts is what an update did, by counting again with plain arrays; watching changes no number."""

import numpy as np
import pytest

import lpnet as lp
from lpnet._watch import EDGES, watch


def one_step(precision, weights, grad, lr=1.0, rounding="nearest"):
    """Return what `watch` saw of one step of SGD on one parameter with the gradient given."""
    model = lp.nn.Linear(len(weights), 1, bias=False)
    model.weight.data = np.float32([weights])
    p = precision and lp.Precision.uniform(precision, rounding)
    optimizer = lp.optim.SGD(model.parameters(), lr, precision=p)
    with watch(model, optimizer) as step:
        model(np.float32([grad])).sum().backward()  # the gradient of a linear layer's sum is its input
        optimizer.step()
    return step


def test_moved_swallowed_overshot_by_hand():
    """Gap 1/4: 0.3 moves by 0.25, 0.1 is swallowed, 0.125 + tie stays at the even number, 0 does not wish to move."""
    update = one_step(lp.FixedPoint(6, 2), [1.0, 1.0, 1.0, 1.0], [0.25, 0.1, 0.125, 0.0], lr=0.5).update("weight")
    np.testing.assert_array_equal(update.wanted, [[0.875, 1.0, 1.0, 1.0]])  # gradients 0.25, 0, 0, 0 after rounding
    assert (update.moved, update.swallowed, update.overshot) == (0, 1, 0)
    np.testing.assert_array_equal(update.ratios, [0.5])
    update = one_step(lp.FixedPoint(6, 2), [1.0, 1.0], [1.25, 0.75], lr=0.125).update("weight")
    assert (update.moved, update.swallowed) == (1, 1)  # -0.15625 goes to -0.25, -0.09375 to 0


def test_an_overshoot_is_a_move_of_more_than_twice_the_wish():
    """Stochastic rounding moves by a whole gap or not at all: with wishes of a tenth of a gap every move overshoots."""
    lp.manual_seed(0)
    n = 400
    update = one_step(lp.FixedPoint(8, 2), [1.0] * n, [0.25] * n, lr=0.1, rounding="stochastic").update("weight")
    assert update.moved == update.overshot and update.moved + update.swallowed == n
    assert abs(update.moved - n / 10) < 4 * np.sqrt(n * 0.1 * 0.9)


@pytest.mark.parametrize(
    ("precision", "weights", "grad", "word"),
    [
        ("fixed8.2", [1.0] * 4, [0.0] * 4, "no grad"),
        ("fixed8.2", [1.0] * 4, [0.25] * 4, "stuck"),
        ("fixed4.2", [1.75] * 4, [-8.0] * 4, "clipped"),
        (None, [1.0] * 4, [np.inf] * 4, "NaN"),
        (None, [1.0] * 4, [0.25] * 4, ""),
    ],
)
def test_what_is_wrong_has_its_word(precision, weights, grad, word):
    """The word is in the row, and its sentence under the table."""
    step = one_step(precision, weights, grad, lr=0.1)
    assert step.update("weight").verdict == word
    assert not word or f"\n{word}: " in str(step)


def test_the_accumulator_is_what_is_watched():
    """With an accumulator an update that the weight's gap swallows still moves what collects."""
    model = lp.nn.Linear(1, 1, bias=False)
    model.weight.data = np.float32([[1.0]])
    p = lp.Precision(weight=lp.Quantizer("fixed8.2", "nearest"), accumulator=lp.Quantizer("fixed16.10", "nearest"))
    optimizer = lp.optim.SGD(model.parameters(), 2.0**-6, precision=p)
    with watch(model, optimizer) as step:
        model(np.float32([[1.0]])).sum().backward()
        optimizer.step()
    assert step.update("weight").moved == 1 and model.weight.data.item() == 1
    assert str(step.update("weight").format) == "fixed16.10"


def test_a_step_of_fit_is_seen_as_one_by_hand():
    """`fit` looks at the ends of formats in its first step; who watches it sees formats all the same."""
    x, y = np.random.default_rng(0).standard_normal((16, 4)).astype(np.float32), np.arange(16) % 2
    seen = []
    for fitted in (False, True):
        lp.manual_seed(0)
        model = lp.models.mlp(4, 2, (8,))
        lp.nn.lower(model, "fixed8.4")
        optimizer = lp.optim.SGD(model.parameters(), 0.5, precision="fixed8.4")
        with watch(model, optimizer) as step:
            if fitted:
                lp.fit(model, [(x, y)], epochs=1, optimizer=optimizer, progress=False)
            else:
                lp.functions.cross_entropy(model(x), y).backward()
                optimizer.step()
        seen.append(str(step))
        assert len(step.update("1.weight").ratios)
    assert seen[0] == seen[1]


def test_watching_changes_no_number():
    """The same weights after a step in bfp4, watched or not."""
    weights = []
    for watched in (False, True):
        lp.manual_seed(3)
        model = lp.models.small_cnn(width=2)
        lp.nn.lower(model, "bfp4")
        optimizer = lp.optim.SGD(model.parameters(), 0.1, 0.9, precision="bfp4")
        x = np.linspace(-1, 1, 2 * 64, dtype=np.float32).reshape(2, 1, 8, 8)
        with watch(model, optimizer) if watched else lp.use(None) as step:
            lp.functions.cross_entropy(model(x), np.array([1, 2])).backward()
            optimizer.step()
        weights.append(model.state_dict())
    assert all(np.array_equal(weights[0][k], weights[1][k]) for k in weights[0])
    assert [*step.updates] == [name for name, _ in model.named_parameters()]
    assert all(len(line) <= 80 for line in str(step).splitlines() if "%" in line)


def test_the_histogram_has_a_bar_for_each_power_of_two():
    """Updates of 2^-6 ... 2 gaps, one each, give bars of one height."""
    n = len(EDGES)
    grad = [2.0**e for e in EDGES]
    update = one_step(None, [0.0] * n, grad).update("weight")
    update.quantizer = lp.Quantizer("fixed8.0")
    assert update.histogram() in ("█" * n, "9" * n)


def test_a_story_is_on_one_screen():
    """Lines of at most 80 columns, with odds that add up to 1."""
    step = one_step("fixed8.2", [1.0, 1.0], [0.75, 0.5], lr=0.125, rounding="stochastic")
    story = step.story("weight", (0, 0))
    assert "odds" in story and max(map(len, story.splitlines())) <= 80
    with pytest.raises(KeyError, match="no parameter 'bias'"):
        step.story("bias", 0)


def test_a_block_without_a_step_says_so():
    """No update, no table: a sentence."""
    model = lp.nn.Linear(2, 1)
    with watch(model, lp.optim.SGD(model.parameters(), 0.1)) as step:
        pass
    assert "no step was taken" in str(step) and "nothing was rounded" in step._repr_html_() + str(step.trace)
