"""What a recipe is: a Precision, and what a model, an optimizer and a loop need besides."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from ..precision import Precision


@dataclass(frozen=True)
class Recipe(Precision):
    """A Precision that goes where one goes, and says what more its source wants.

    `nn.lower` keeps the layers of `exact` in float, an optimizer compensates if `compensate` says so, and a loop scales
    the loss: `fit(..., scaler=LossScaler(recipe.loss_scale))`.
    """

    name: str = ""  # of the recipe
    exact: tuple[str | type, ...] = ()  # layers that stay in float: types, names, "first" and "last"
    loss_scale: float = 1.0  # what the loss is multiplied by, and the gradients divided
    compensate: bool = False  # whether what rounding takes from the weights is kept and added to the next update

    @classmethod
    def of(cls, name: str, precision: Precision, **more: Any) -> Recipe:
        """Return the recipe of this name with the roles and products of a Precision."""
        own = {field.name: getattr(precision, field.name) for field in fields(Precision)}
        return cls(**own, name=name, **more)
