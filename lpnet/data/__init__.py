"""Data: real images found on disk or downloaded, batches in a reproducible order, random crops and flips.

Files, from simple to complex: `datasets` (what a data set is, and `load`), `own` (your pictures, arrays and tables),
`transforms`, `loader` (batches), and behind `load` the table `sources`, the readers `files` and `download`.
"""

from . import transforms
from ._load import load, names, register
from .datasets import Dataset, statistics
from .loader import DataLoader
from .own import arrays, folder, normalized, parts, split
from .transforms import compose, random_crop, random_flip, random_resized_crop

__all__ = [
    "DataLoader",
    "Dataset",
    "arrays",
    "compose",
    "folder",
    "load",
    "names",
    "normalized",
    "parts",
    "random_crop",
    "random_flip",
    "random_resized_crop",
    "register",
    "split",
    "statistics",
    "transforms",
]
