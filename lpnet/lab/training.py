"""The tab Training: a small network is trained by `lp.fit` in a precision chosen role by role, or by a recipe."""

from __future__ import annotations

from typing import Any

import lpnet as lp

from .fields import ROUNDINGS, Field, maybe_format, one_of, real, row, whole
from .program import arguments, program
from .samples import samples

ROLES = ("weight", "activation", "error", "gradient", "momentum", "accumulator", "average")
BY_ROLE = "role by role"
RECIPES = (BY_ROLE, *lp.recipes.names())
DATA, NETWORKS = ("spirals", "circles", "digits"), ("mlp", "small_cnn")


def widths(text: str) -> tuple[int, ...]:
    """Return the widths of layers, with spaces between them."""
    numbers = row(text)
    if len(numbers) > 4 or not all(n in range(1, 257) for n in numbers):
        raise ValueError(f"up to four whole numbers from 1 to 256, please, not {text!r}")
    return tuple(int(n) for n in numbers)


FIELDS = (
    Field("data", "Data", "spirals", one_of(DATA), DATA),
    Field("network", "Network", "mlp", one_of(NETWORKS), NETWORKS),
    Field("hidden", "Hidden layers", "32 32", widths, hint="of the mlp"),
    Field("rounding", "Rounding", "stochastic", one_of(ROUNDINGS), ROUNDINGS),
    Field("recipe", "Precision", BY_ROLE, one_of(RECIPES), RECIPES),
    *(
        Field(role, role.capitalize(), default, maybe_format)
        for role, default in zip(ROLES, ("fixed4.2", "fixed8.4", "bfp8", "bfp8", "bfp8", "", ""), strict=True)
    ),
    Field("lr", "Learning rate", "0.1", real(0, 100)),
    Field("sgd_momentum", "Momentum of SGD", "0.9", real(0, 0.999)),
    Field("batch", "Batch size", "32", whole(1, 1000)),
    Field("epochs", "Epochs", "60", whole(1, 1000)),
    Field("average_from", "Average from epoch", "30", whole(0, 1000), hint="SWALP"),
    Field("cycle", "Cycle", "10", whole(1, 1000), hint="steps"),
    Field("seed", "Seed", "0", whole(0, 2**32)),
)


def parts(
    data: str,
    network: str,
    hidden: tuple[int, ...],
    recipe: str | None,
    formats: dict[str, str],
    rounding: str,
    lr: float,
    momentum: float,
    batch: int,
    epochs: int,
    average_from: int,
    cycle: int,
    seed: int,
) -> dict[str, Any]:
    """Return the arguments of `lp.fit`."""
    lp.manual_seed(seed)
    train, test = samples(data, seed)
    inputs, classes = (64, 10) if data == "digits" else (2, 2)
    model = lp.models.small_cnn() if network == "small_cnn" else lp.models.mlp(inputs, classes, hidden)
    if recipe:
        precision: lp.Precision = lp.recipes.RECIPES[recipe]()
    else:
        precision = lp.Precision(**{role: lp.Quantizer(fmt, rounding) for role, fmt in formats.items()})
    lp.nn.lower(model, precision)
    optimizer = lp.optim.SGD(model.parameters(), lr, momentum, precision=precision)
    loader = lp.data.DataLoader(train, batch, shuffle=True, seed=seed)
    swalp = lp.optim.SWALP(model, optimizer, average_from * len(loader), cycle)
    return {
        "model": model,
        "train": loader,
        "test": lp.data.DataLoader(test, 500),
        "epochs": epochs,
        "optimizer": optimizer,
        "swalp": swalp,
    }


MAIN = """settings = dict({settings})
run = parts(**settings)
for row in lp.fit(**run, progress=False):
    print(", ".join(f"{{name}} {{value:.4g}}" for name, value in row.items()))
weights = [*(p.numpy() for p in run["model"].parameters()), *run["swalp"].mean.values()]
print("fingerprint", hashlib.sha256(b"".join(w.tobytes() for w in weights)).hexdigest()[:16])
"""


def python(settings: dict[str, Any]) -> str:
    """Return the program that does the same."""
    imports = "import hashlib\nfrom typing import Any\n\n"
    return program(samples, parts, main=MAIN.format(settings=arguments(settings)), imports=imports)


def settings(values: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of `parts` that the fields say; raises ValueError for what does not go together."""
    chosen = dict(values)
    formats = {role: fmt for role in ROLES if (fmt := chosen.pop(role)) is not None}
    if chosen["network"] == "small_cnn" and chosen["data"] != "digits":
        raise ValueError(f"Network: small_cnn takes images, of the digits; for {chosen['data']} choose mlp")
    recipe = None if chosen["recipe"] == BY_ROLE else chosen["recipe"]
    chosen["momentum"] = chosen.pop("sgd_momentum")
    return {**chosen, "recipe": recipe, "formats": {} if recipe else formats}
