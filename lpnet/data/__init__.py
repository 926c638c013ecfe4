"""Data: real images found on disk or downloaded, batches in a reproducible order, random crops and flips.

Files, from simple to complex: `datasets` (what a data set is, and `load`), `transforms`, `loader` (batches), and behind
`load` the table `sources`, the readers `files` and `download`.
"""

from . import transforms
from ._load import load, names, register
from .datasets import Dataset, statistics
from .loader import DataLoader
from .transforms import compose, random_crop, random_flip

__all__ = [
    "DataLoader",
    "Dataset",
    "compose",
    "load",
    "names",
    "random_crop",
    "random_flip",
    "register",
    "statistics",
    "transforms",
]
