"""Recipes give what the papers say, and are found by name."""

import numpy as np
import pytest

import lpnet as lp
from lpnet import recipes


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_is_a_precision_and_says_its_source(name):
    recipe = recipes.RECIPES[name]
    assert isinstance(recipe(), lp.Precision) and recipe is getattr(recipes, name)
    assert "Source: " in recipe.__doc__ and "et al." in recipe.__doc__


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
