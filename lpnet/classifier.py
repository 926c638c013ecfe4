"""A trained network with what it takes to use it: classes, normalisation, precision. From one file, never a pickle."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import models, random
from .backend import one_blas_thread
from .checkpoint import load
from .data import Dataset
from .data.own import as_images, picture
from .functions import softmax
from .nn import Module, lower
from .precision import Precision
from .recipes import RECIPES
from .tensor import Tensor, no_grad
from .version import __version__

FILES = ("best.npz", "averaged.npz", "model.npz")  # of a run folder, the one to be used first


def about(
    network: str, dataset: Dataset, precision: str = "fp32", rounding: str = "stochastic", recipe: str | None = None
) -> dict[str, Any]:
    """Return what a model file has to say of a network of `models.names()` that was trained on `dataset`.

    Give it to `fit` as config={"about": ...}, or to `save` beside the model: save(path, model=model, about=about(...)).
    """
    return {
        "network": network,
        "shape": list(dataset.images.shape[1:]),
        "classes": list(dataset.classes),
        "mean": list(dataset.mean),
        "std": list(dataset.std),
        "scale": dataset.scale,
        "precision": precision,
        "rounding": rounding,
        "recipe": recipe,
        "version": __version__,
    }


@dataclass(eq=False)
class Classifier:
    """A network that predicts from raw pixels; `model` is the network itself, in evaluation mode."""

    model: Module
    classes: tuple[str, ...]
    shape: tuple[int, int, int]  # of an image, (C, H, W)
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float

    def __call__(self, images: Any) -> np.ndarray:
        """Return the probability of each class, (N, classes), for images of raw pixels.

        images: (N, C, H, W), (N, H, W, C) or (N, H, W), or one of them without N. Raises ValueError for another size.
        """
        x = self._normalized(np.asarray(images))
        with no_grad(), random.fork_rng(), one_blas_thread():
            parts = [softmax(self.model(Tensor(x[i : i + 256])), axis=1).numpy() for i in range(0, len(x), 256)]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.classes)), np.float32)

    def predict(self, images: Any) -> list[str]:
        """Return the most probable class of each image."""
        return [self.classes[i] for i in self(images).argmax(axis=1)]

    def read(self, paths: list[Path]) -> np.ndarray:
        """Return pictures, read by Pillow, as images of the network's size and colours, (N, C, H, W)."""
        channels, height, width = self.shape
        if height != width or channels not in (1, 3):
            raise ValueError(f"predict: the network takes {channels}x{height}x{width}, which no picture file gives")
        return np.stack([picture(path, height, channels) for path in paths])

    def _normalized(self, images: np.ndarray) -> np.ndarray:
        channels, height, width = self.shape
        if images.shape in (self.shape, (height, width, channels), (height, width)):  # one image
            images = images[None]
        images = as_images(images, "predict")
        if images.shape[1:] != self.shape:
            raise ValueError(f"predict: the network takes images of shape {self.shape}, got {images.shape[1:]}")
        labels = np.zeros(len(images), np.int64)
        data = Dataset(images, labels, "predict", self.classes, self.mean, self.std, self.scale)
        return data.normalize(data.scaled())

    def __repr__(self) -> str:
        size = "x".join(map(str, self.shape))
        return f"Classifier({type(self.model).__name__} for {size} images in {len(self.classes)} classes)"


def load_model(path: str | os.PathLike[str], rounded: bool = False) -> Classifier:
    """Return the network of a model file, or of the folder of a run (best.npz, else averaged.npz, else model.npz).

    With rounded=True its layers round as they did in training. Raises ValueError for a file that does not say what it
    is (see `about`), or is damaged; FileNotFoundError where there is none.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        found = [path / name for name in FILES if (path / name).is_file()]
        if not found:
            raise FileNotFoundError(f"{path} holds none of {', '.join(FILES)}: the run has not ended, or is none")
        path = found[0]
    saved = load(path)
    if not isinstance(known := saved.get("about"), dict) or "model" not in saved:
        raise ValueError(f"{path} does not say what network it is of: save it with about=lpnet.classifier.about(...)")
    try:
        (channels, height, width), classes = map(int, known["shape"]), tuple(map(str, known["classes"]))
        shape = channels, height, width
        model = models.build(known["network"], shape, len(classes))
        model.load_state_dict(saved["model"])
        if rounded:
            recipe = known.get("recipe")
            parsed = Precision.parse(known["precision"], known["rounding"])
            lower(model, parsed if recipe is None else RECIPES[recipe]())
        mean, std = tuple(map(float, known["mean"])), tuple(map(float, known["std"]))
        return Classifier(model.eval(), classes, shape, mean, std, float(known["scale"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path}: damaged, or of another version ({error})") from error
