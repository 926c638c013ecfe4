"""Recipes as text: a list, and one with its three products drawn."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from .. import tables
from ..formats import Blocked
from ..formats.block import block_name
from ..pertensor import PerTensor
from ..precision import ROLES
from ..products import PRODUCTS, Operand, Products
from ._recipe import Recipe

JOINT = 62  # columns up to where the operands of a product meet
EQUATIONS = {  # what each product is, and what it sums over
    "forward": ("y = x W^T", "inputs, or channels"),
    "input gradient": ("gx = gy W", "outputs, or filters"),
    "weight gradient": ("gW = gy^T x", "samples"),
}
Make = Callable[..., Recipe]


def told(make: Make) -> tuple[str, str, str]:
    """Return what the docstring of a recipe says: a sentence, more of it, and the source."""
    first, _, rest = (inspect.getdoc(make) or "").partition("\n\n")
    more, _, source = " ".join(rest.split()).partition("Source: ")
    return first.removeprefix("Return "), more.strip(), source


def listed(recipes: Mapping[str, Make]) -> str:
    """Return a paragraph for each recipe: its name, a sentence and its source."""
    return "\n".join(_entry(name, *told(make)) for name, make in recipes.items())


def _entry(name: str, sentence: str, _: str, source: str) -> str:
    return tables.fill(f"{name:13}{sentence} {source}", " " * 13)


def shown(make: Make) -> str:
    """Return a recipe as text: what it is, its products, and what else it rounds."""
    recipe, (sentence, more, source) = make(), told(make)
    lines = [sentence, "", *_products(recipe.products or Products()), *_rest(recipe), "", more, f"Source: {source}"]
    return "\n".join(line if line.startswith("  ") else tables.fill(line) for line in lines)


def _products(products: Products) -> Iterator[str]:
    makes = {name: getattr(products, name) for pair in PRODUCTS.values() for name in pair}
    for product, pair in PRODUCTS.items() if any(makes.values()) else ():
        result, over = EQUATIONS[product]
        first, second = (_line(name, makes[name]) for name in pair)
        yield from (f"{product}, {result}, summed over {over}", first)
        yield from (" " * JOINT + f"x--> {result.partition(' ')[0]}", second, "")
    if not any(makes.values()):
        yield "Operands of products: as they are."
    yield f"Sums: {products.accumulate or 'float32'}."
    if products.reuse:
        yield "W and x of the two gradients are those that the forward product has rounded."
    yield from _legend(makes.values())


def _legend(makes: Iterable[Any]) -> Iterator[str]:
    formats = {short(fmt): fmt for make in makes if (fmt := getattr(make, "format", None))}
    yield from (f"{name}: {_blocks(fmt)}." for name, fmt in formats.items() if isinstance(fmt, Blocked))
    for n in sorted({make.rotate for make in makes if getattr(make, "rotate", None)}):
        yield f"H{n}: {n} neighbours times a Hadamard matrix with signs, before they are rounded."


def _line(name: str, make: Any) -> str:
    """Return an operand as a line to the right, with what becomes of it in its midst."""
    return f"  {name.partition('_')[0]:2} --[ {_made(make)} ]".ljust(JOINT, "-") + "+"


def _made(make: Any) -> str:
    if make is None:
        return "as it is"
    words = [short(make.format), f"{make.rounding}"]
    if isinstance(make, PerTensor):
        words.append(f"scale of {make.history} steps" if make.history else "scale of the tensor")
    if isinstance(make, Operand) and make.rotate:
        words.insert(0, f"H{make.rotate}{' redrawn' if make.redraw else ''}")
    return ", ".join([*words, *(["clipped masked"] if getattr(make, "mask", False) else [])])


def short(fmt: Any) -> str:
    """Return the name of a format; of one without a name that which says its bits."""
    if "(" not in (name := str(fmt)):
        return name
    return f"e{fmt.exp}m{fmt.man}" if hasattr(fmt, "man") else f"fixed{fmt.wl}.{fmt.fl}"


def _blocks(fmt: Any) -> str:
    factor = f" times {fmt.factor:.3g}" if fmt.factor != 1 else ""
    whole = " and a float32 for the array" if fmt.tensor else ""
    blocks = f"{fmt.element} in blocks of {block_name(fmt.block)}"
    return f"{blocks}, scales in {fmt.scale} by the rule {fmt.scaling}{factor}{whole}"


def _rest(recipe: Recipe) -> Iterator[str]:
    """Yield what a recipe says of results and states, of layers and of the loop."""
    rows = [f"  {role:14}{_role(value)}" for role in ROLES if (value := getattr(recipe, role)) is not None]
    if rows:
        yield from ("", "results and states are rounded to", *rows)
    if recipe.exact:
        yield f"In float: {', '.join(map(str, recipe.exact))} of the layers that multiply."
    if recipe.loss_scale != 1:
        yield f"The loss is multiplied by {recipe.loss_scale:g}, and gradients divided."
    if recipe.compensate:
        yield "What rounding takes from the weights is kept, and added to the next update."


def _role(quantizer: Any) -> str:
    if getattr(quantizer, "format", None) is None:
        return "by a function"
    return f"{short(quantizer.format)}, {quantizer.rounding}{', clipped masked' if quantizer.mask else ''}"
