"""What papers train in, by name: each a function that returns what a model, an optimizer and a loop need.

A recipe goes where a precision goes:

    recipe = lp.recipes.nvfp4()
    lp.nn.lower(model, recipe)
    optimizer = lp.optim.SGD(model.parameters(), lr=0.05, precision=recipe)
    lp.fit(model, train, epochs=3, optimizer=optimizer, scaler=lp.optim.LossScaler(recipe.loss_scale))

Files: `_recipe` (what one is), `_operands` and `_results` (what they round), `_show` (as text).
"""

from __future__ import annotations

from collections.abc import Callable

from ..registry import Registry
from ._operands import deepseek_v3, fp8_delayed, luq, mxfp8, nvfp4, quartet
from ._recipe import Recipe
from ._results import FP8 as FP8  # these four are what IBM8 and WAGE are made of
from ._results import FP16 as FP16
from ._results import bf16_kahan, ibm8, swalp, wage
from ._results import layer_scale as layer_scale
from ._results import shifted as shifted
from ._show import listed, shown

__all__ = [
    "Recipe",
    "bf16_kahan",
    "deepseek_v3",
    "describe",
    "fp8_delayed",
    "ibm8",
    "listing",
    "luq",
    "mxfp8",
    "names",
    "nvfp4",
    "quartet",
    "swalp",
    "wage",
]

_ALL: tuple[Callable[..., Recipe], ...] = (
    *(mxfp8, nvfp4, deepseek_v3, quartet, luq, fp8_delayed),
    *(ibm8, wage, swalp, bf16_kahan),
)
RECIPES: Registry[Callable[..., Recipe]] = Registry("recipe", {make.__name__: make for make in _ALL})


def names() -> list[str]:
    """Return the names of the recipes."""
    return RECIPES.names()


def listing() -> str:
    """Return all recipes, each with a sentence and its source, in 80 columns."""
    return listed(RECIPES)


def describe(name: str) -> str:
    """Return a recipe as text: its three products with formats, blocks and roundings, then what else it rounds.

    Raises ValueError for an unknown name.
    """
    return shown(RECIPES[name])
