"""The same networks and number formats in PyTorch and QPyTorch, made from lpnet's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from lpnet import models, nn
from lpnet.interop.torch import RoundedOptimizer, Rounding


@dataclass(frozen=True)
class Bfp8:
    """How a library rounds to bfp8 in PyTorch: a layer that does it both ways, and an optimizer made of SGD."""

    layer: Callable[[], torch.nn.Module]
    optimizer: Callable[[torch.optim.SGD], torch.optim.Optimizer]


def _quantizer() -> torch.nn.Module:
    import qtorch  # compiles itself, which not every machine can
    from qtorch import quant

    block = qtorch.BlockFloatingPoint(wl=8, dim=0)
    return quant.Quantizer(forward_number=block, backward_number=block)


def _optim_lp(sgd: torch.optim.SGD) -> torch.optim.Optimizer:
    import qtorch
    from qtorch import optim, quant

    q = quant.quantizer(forward_number=qtorch.BlockFloatingPoint(wl=8, dim=0), forward_rounding="stochastic")
    return optim.OptimLP(sgd, weight_quant=q, grad_quant=q, momentum_quant=q)


QPYTORCH = Bfp8(_quantizer, _optim_lp)
LPNET = Bfp8(lambda: Rounding("bfp8", "bfp8"), lambda sgd: RoundedOptimizer(sgd, "bfp8"))


class Composite(torch.nn.Module):
    """A module of named parts and a function of them and the input."""

    def __init__(self, forward: Callable[..., torch.Tensor], **parts: torch.nn.Module | None) -> None:
        super().__init__()
        self.function = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the function's result."""
        return self.function(self, x)


def twin(module: nn.Module, bfp8: Bfp8 = QPYTORCH) -> torch.nn.Module:
    """Return the PyTorch module of an lpnet one: same weights, a library's rounding where `lower` has put ours."""
    layer = _layer(module, lambda part: twin(part, bfp8))
    return layer if module.precision is None else torch.nn.Sequential(layer, bfp8.layer())


def _layer(m: nn.Module, twin: Callable[[nn.Module], torch.nn.Module]) -> torch.nn.Module:
    if isinstance(m, nn.Sequential):
        return torch.nn.Sequential(*map(twin, m))
    if isinstance(m, models.preresnet.Block):
        return Composite(
            lambda t, x: t.body(x) + (t.shortcut(x) if t.shortcut is not None else x),
            body=twin(m.body),
            shortcut=None if m.shortcut is None else twin(m.shortcut),
        )
    if isinstance(m, models.preresnet.PreResNet):
        parts = {name: twin(getattr(m, name)) for name in ("conv", "blocks", "norm", "relu", "classifier")}
        return Composite(lambda t, x: t.classifier(t.relu(t.norm(t.blocks(t.conv(x)))).mean((2, 3))), **parts)
    if isinstance(m, models.vgg.VGG):
        return Composite(
            lambda t, x: t.classifier(t.features(x).flatten(1)),
            features=twin(m.features),
            classifier=twin(m.classifier),
        )
    return _with_weights(_leaf(m), m)


def _leaf(m: nn.Module) -> torch.nn.Module:
    if isinstance(m, nn.Conv2d):
        (o, c, *size), (stride, padding, *_) = m.weight.shape, m.geometry
        return torch.nn.Conv2d(c, o, size, stride, padding, bias=m.bias is not None)
    if isinstance(m, nn.Linear):
        return torch.nn.Linear(*m.weight.shape[::-1])
    if isinstance(m, nn.BatchNorm2d):
        return torch.nn.BatchNorm2d(len(m.weight.data))
    kinds = {
        nn.ReLU: torch.nn.ReLU,
        nn.Flatten: torch.nn.Flatten,
        nn.Dropout: torch.nn.Dropout,
        nn.MaxPool2d: lambda: torch.nn.MaxPool2d(*m.geometry),
    }
    return kinds[type(m)]()


def _with_weights(layer: torch.nn.Module, m: nn.Module) -> torch.nn.Module:
    for name, p in layer.named_parameters():
        p.data = torch.from_numpy(np.array(getattr(m, name).data))
    return layer


def optimizer(model: torch.nn.Module, low: bool, bfp8: Bfp8 = QPYTORCH) -> torch.optim.Optimizer:
    """Return SGD with momentum; with `low`, one that rounds as lpnet's does."""
    sgd = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    return bfp8.optimizer(sgd) if low else sgd


def trainer(
    model: torch.nn.Module, low: bool, x: np.ndarray, labels: np.ndarray, bfp8: Bfp8 = QPYTORCH
) -> Callable[[], float]:
    """Return a function that takes one training step and returns the loss."""
    step, x, labels = optimizer(model, low, bfp8), torch.from_numpy(x), torch.from_numpy(labels)

    def train() -> float:
        step.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        step.step()
        return loss.item()

    return train
