"""`checkpointed`: choose the layers of a model that are computed twice, so that backward keeps only their inputs."""

from __future__ import annotations

from ..registry import unknown
from ._lower import Layers, types_and_names
from .module import Module


def checkpointed(model: Module, layers: Layers) -> dict[str, str]:
    """Mark layers of `model` of which `backward` keeps the inputs only, and computes the rest anew when it is there.

    That takes about a forward pass more, and the memory of one marked layer at a time. Every number keeps its bits:
    random ones are those of the first time, running statistics and remembered scales move on once. So a marked layer
    may have no other state that its forward pass changes. Inside of one, functions of weights alone draw their errors'
    random bits in another order.

    Parameters: layers, types and names of modules, blocks of a network; none removes all marks. Earlier marks are
    replaced. Returns {name: type} of the marked layers. Raises ValueError for a name that the model does not have;
    TypeError for what is neither a type nor a name. Source: Chen et al., arXiv 1604.06174.
    """
    types, names = types_and_names("checkpointed", "layers", layers)
    modules = dict(model.named_modules())
    if wrong := sorted(names - set(modules)):
        raise unknown("layer", wrong[0], modules, "checkpointed")
    for name, module in modules.items():
        module.checkpointed = isinstance(module, types) or name in names
    return {name: type(module).__name__ for name, module in modules.items() if module.checkpointed}
