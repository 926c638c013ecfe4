"""Data: real images found on disk or downloaded, batches in a reproducible order, random crops and flips.

Files, from simple to complex: `datasets` (what a data set is, and `load`), `transforms`, `loader` (batches), and behind
`load` the table `sources`, the readers `files` and `download`.
"""

from . import transforms
from .datasets import NAMES, Dataset, load, statistics
from .loader import DataLoader
from .transforms import compose, random_crop, random_flip

__all__ = [
    "NAMES",
    "DataLoader",
    "Dataset",
    "compose",
    "load",
    "random_crop",
    "random_flip",
    "statistics",
    "transforms",
]
