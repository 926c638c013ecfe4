"""The same networks and number formats in PyTorch and QPyTorch, made from lpnet's own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import qtorch
import torch
from qtorch import quant
from qtorch.optim import OptimLP

from lpnet import models, nn

BLOCK = qtorch.BlockFloatingPoint(wl=8, dim=0)  # bfp8


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


def twin(module: nn.Module) -> torch.nn.Module:
    """Return the PyTorch module of an lpnet one: same weights, QPyTorch's rounding where `lower` has put ours."""
    layer = _layer(module)
    if module.precision is None:
        return layer
    both = {f"{way}_{what}": value for way in ("forward", "backward")
            for what, value in (("number", BLOCK), ("rounding", "stochastic"))}  # fmt: skip
    return torch.nn.Sequential(layer, quant.Quantizer(**both))


def _layer(m: nn.Module) -> torch.nn.Module:
    if isinstance(m, nn.Sequential):
        return torch.nn.Sequential(*map(twin, m))
    if isinstance(m, models.preresnet.Block):
        return Composite(lambda t, x: t.body(x) + (t.shortcut(x) if t.shortcut is not None else x),
                         body=twin(m.body), shortcut=None if m.shortcut is None else twin(m.shortcut))  # fmt: skip
    if isinstance(m, models.preresnet.PreResNet):
        parts = {name: twin(getattr(m, name)) for name in ("conv", "blocks", "norm", "relu", "classifier")}
        return Composite(lambda t, x: t.classifier(t.relu(t.norm(t.blocks(t.conv(x)))).mean((2, 3))), **parts)
    if isinstance(m, models.vgg.VGG):
        return Composite(lambda t, x: t.classifier(t.features(x).flatten(1)),
                         features=twin(m.features), classifier=twin(m.classifier))  # fmt: skip
    return _with_weights(_leaf(m), m)


def _leaf(m: nn.Module) -> torch.nn.Module:
    if isinstance(m, nn.Conv2d):
        (o, c, *size), (stride, padding, *_) = m.weight.shape, m.geometry
        return torch.nn.Conv2d(c, o, size, stride, padding, bias=m.bias is not None)
    if isinstance(m, nn.Linear):
        return torch.nn.Linear(*m.weight.shape[::-1])
    if isinstance(m, nn.BatchNorm2d):
        return torch.nn.BatchNorm2d(len(m.weight.data))
    kinds = {nn.ReLU: torch.nn.ReLU, nn.Flatten: torch.nn.Flatten, nn.Dropout: torch.nn.Dropout,
             nn.MaxPool2d: lambda: torch.nn.MaxPool2d(*m.geometry)}  # fmt: skip
    return kinds[type(m)]()


def _with_weights(layer: torch.nn.Module, m: nn.Module) -> torch.nn.Module:
    for name, p in layer.named_parameters():
        p.data = torch.from_numpy(np.array(getattr(m, name).data))
    return layer


def optimizer(model: torch.nn.Module, low: bool) -> torch.optim.Optimizer:
    """Return SGD with momentum; with `low`, QPyTorch's, which rounds as lpnet's does."""
    sgd = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    if not low:
        return sgd
    q = quant.quantizer(forward_number=BLOCK, forward_rounding="stochastic")
    return OptimLP(sgd, weight_quant=q, grad_quant=q, momentum_quant=q)


def trainer(model: torch.nn.Module, low: bool, x: np.ndarray, labels: np.ndarray) -> Callable[[], float]:
    """Return a function that takes one training step and returns the loss."""
    step, x, labels = optimizer(model, low), torch.from_numpy(x), torch.from_numpy(labels)

    def train() -> float:
        step.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        step.step()
        return loss.item()

    return train
