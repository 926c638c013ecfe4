"""What every data set and every transform does, by the tables of cases."""

import inspect

import numpy as np
import pytest

import lpnet as lp
from lpnet.data import DataLoader, Dataset, _load, transforms

from .cases import DATA_SETS, TRANSFORMS


def test_every_data_set_has_a_case():
    """A new data set without a row fails here."""
    assert list(DATA_SETS) == lp.data.names()


def test_every_transform_has_a_case():
    """A new transform without a row fails here."""
    functions = {name: f for name, f in vars(transforms).items() if inspect.isfunction(f)}
    ours = {name for name, f in functions.items() if f.__module__ == transforms.__name__ and not name.startswith("_")}
    assert set(TRANSFORMS) == ours <= set(lp.data.__all__)


@pytest.mark.parametrize("name", DATA_SETS)
def test_a_data_set_is_two_sets_with_one_normalisation(name, tmp_path):
    """Images are (N, C, H, W), labels numbers of classes, and the training set has mean 0 and standard deviation 1."""
    DATA_SETS[name](tmp_path)
    train, test = lp.data.load(name, tmp_path)
    assert train.name == test.name == name and train.images.shape[1:] == test.images.shape[1:] and len(test)
    assert (train.classes, train.mean, train.std, train.scale) == (test.classes, test.mean, test.std, test.scale)
    [(x, y)] = DataLoader(train, len(train))
    assert x.dtype == np.float32 and y.dtype == np.int64 and 0 <= y.min() <= y.max() < len(train.classes)
    np.testing.assert_allclose(x.mean((0, 2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(x.std((0, 2, 3)), 1, atol=1e-3)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transform_keeps_shape_type_and_input_and_repeats(name):
    """The same generator gives the same batch, another one another batch; what came in is left as it was."""
    transform, x = TRANSFORMS[name], np.random.default_rng(1).random((64, 3, 6, 6)).astype(np.float32)
    before, out = x.copy(), transform(x, np.random.default_rng(2))
    assert out.shape == x.shape and out.dtype == np.float32
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(out, transform(x, np.random.default_rng(2)))
    assert (out != transform(x, np.random.default_rng(3))).any()


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transform_invents_no_light(name):
    """Every number of the batch is within those of the image it belongs to, or of the 0 of its border."""
    x = np.random.default_rng(1).random((16, 3, 6, 6)).astype(np.float32)
    out = TRANSFORMS[name](x, np.random.default_rng(2))
    for image, new in zip(x, out, strict=True):
        assert min(0, image.min()) <= new.min() and new.max() <= image.max() * (1 + 1e-6)


def test_a_users_data_set_is_loaded_by_name(monkeypatch):
    """What is registered is listed and loaded, with the folder; a name is not given twice."""
    monkeypatch.setattr(_load, "_DATA_SETS", type(_load._DATA_SETS)("data set", _load._DATA_SETS))

    def stripes(root):
        images = np.zeros((8, 1, 4, 4), np.float32)
        images[::2, :, ::2] = 1
        return (Dataset(images, np.arange(8) % 2, f"stripes in {root}", 2),) * 2

    assert lp.data.register("stripes", stripes) is stripes and lp.data.names()[-1] == "stripes"
    assert lp.data.load("stripes", "here")[0].name == "stripes in here"
    with pytest.raises(ValueError, match="register: 'digits' is the name of"):
        lp.data.register("digits", stripes)
