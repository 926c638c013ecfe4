"""Layers and networks."""

from . import init
from ._checkpointed import checkpointed
from ._lower import lower
from .activations import ELU, GELU, Activation, LeakyReLU, ReLU, Sigmoid, SiLU, Softplus, Tanh
from .containers import ModuleDict, ModuleList, Sequential
from .layers import Conv1d, Conv2d, ConvTranspose2d, Dropout, Embedding, Flatten, Linear
from .losses import CrossEntropyLoss, L1Loss, MSELoss
from .module import Buffer, Module, Parameter
from .norms import BatchNorm1d, BatchNorm2d, GroupNorm, LayerNorm
from .pools import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d

__all__ = [
    "ELU",
    "GELU",
    "Activation",
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Buffer",
    "Conv1d",
    "Conv2d",
    "ConvTranspose2d",
    "CrossEntropyLoss",
    "Dropout",
    "Embedding",
    "Flatten",
    "GroupNorm",
    "L1Loss",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "MSELoss",
    "MaxPool2d",
    "Module",
    "ModuleDict",
    "ModuleList",
    "Parameter",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softplus",
    "Tanh",
    "checkpointed",
    "init",
    "lower",
]
