"""What a Dataset is: labelled images with the numbers that normalise them."""

import hashlib

import numpy as np
import pytest

from lpnet.data import Dataset, load, statistics


def images(n=6, c=3, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, 256, (n, c, 4, 5)).astype(dtype)


def test_statistics_are_those_of_all_pixels_of_a_channel():
    """Mean and deviation, summed in pieces, are NumPy's over everything at once."""
    x = images(2500)
    mean, std = statistics(x, 255)
    np.testing.assert_allclose(mean, (x / 255).mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std, (x / 255).std((0, 2, 3)), rtol=1e-12)


def test_a_constant_channel_can_be_divided_by():
    """A channel without any deviation has 1 in its place."""
    assert statistics(np.full((3, 1, 2, 2), 7, np.uint8), 16) == ((7 / 16,), (1.0,))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("scale", [None, 16.0])
def test_normalised_training_images_have_mean_0_and_std_1(dtype, scale):
    """Whatever the type and scale of the images."""
    x = images(50, dtype=dtype)
    unit = scale or (255 if dtype == np.uint8 else 1)
    data = Dataset(x, np.zeros(50, int), "some", 10, *statistics(x, unit), scale)
    z = data.normalize(data.scaled())
    assert z.dtype == np.float32
    np.testing.assert_allclose(z.mean((0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(z.std((0, 2, 3)), 1, rtol=1e-5)
    mean, std = (np.reshape(v, (3, 1, 1)) for v in (data.mean, data.std))
    np.testing.assert_allclose(z, (x / unit - mean) / std, atol=1e-5)


@pytest.mark.parametrize("index", [slice(1, 5), slice(None, None, 2), np.array([4, 0]), np.arange(6) > 3])
def test_a_subset_keeps_samples_and_normalisation(index):
    """A slice or an array of indices chooses samples and changes nothing else."""
    data = Dataset(images(), np.arange(6, dtype=np.int32), "some", 6, (0.1, 0.2, 0.3), (1, 2, 3))
    part = data[index]
    np.testing.assert_array_equal(part.images, data.images[index])
    np.testing.assert_array_equal(part.labels, data.labels[index])
    assert (part.mean, part.std, part.scale, part.classes) == (data.mean, data.std, data.scale, data.classes)
    assert len(part) == len(part.labels) and part.labels.dtype == np.int64


def test_one_index_gives_image_and_label():
    """An integer gives one sample; a data set can be walked and printed."""
    data = Dataset(images(), np.arange(6))
    x, y = data[-1]
    assert x.shape == (3, 4, 5) and y == 5
    assert len(list(data)) == 6
    assert repr(data) == "Dataset(data: 6 x 3 x 4 x 5 uint8, 10 classes)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": np.array([0, 1, 2, 3, 4, 10])}, "label 10 of sample 5 is outside of 0..9"),
        ({"labels": np.array([0, -1, 2, 3, 4, 5])}, "label -1 of sample 1 is outside of 0..9"),
        ({"labels": np.zeros(6)}, "labels must be integers, got float64"),
        ({"labels": np.zeros(5, int)}, r"labels have shape \(5,\), 6 images need \(6,\)"),
        ({"images": np.zeros((6, 4, 5), np.uint8)}, r"images must be \(N, C, H, W\) uint8 or float32, got \(6, 4, 5\)"),
        ({"images": np.zeros((6, 3, 4, 5))}, "got .* float64"),
        ({"mean": (0.5,)}, "mean must be 3 numbers"),
        ({"std": (1, 0, 1)}, "std above 0"),
        ({"std": (1, np.nan, 1)}, "std above 0"),
        ({"mean": (0, np.inf, 0)}, "mean must be 3 numbers"),
        ({"scale": 0.0}, "scale must be a finite number above 0, got 0.0"),
        ({"scale": -1}, "scale must be a finite number above 0, got -1"),
        ({"scale": np.nan}, "scale must be a finite number above 0, got nan"),
        ({"scale": np.inf}, "scale must be a finite number above 0, got inf"),
        ({"scale": True}, "scale must be a finite number above 0, got True"),
        ({"scale": "255"}, "scale must be a finite number above 0, got '255'"),
        ({"classes": 0}, "classes must be names in a tuple or a number above 0, got 0"),
        ({"classes": True}, "classes must be"),
        ({"classes": "abcdef"}, "classes must be"),
        ({"images": np.zeros((6, 0, 4, 5), np.uint8)}, r"images must be \(N, C, H, W\)"),
    ],
)
def test_what_does_not_fit_is_one_clear_error(arguments, message):
    """Shapes, types and numbers that make no data set are refused in a sentence."""
    with pytest.raises(ValueError, match=message) as error:
        Dataset(**{"images": images(), "labels": np.arange(6), **arguments})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("number", [np.float32, np.float64, np.int64, np.uint8])
def test_numpy_scalars_are_taken_for_numbers(number):
    """They become Python's, and widen no array."""
    data = Dataset(images(), np.arange(6), "some", np.int64(6), scale=number(16))
    assert data.scale == 16 and type(data.scale) is float and data.scaled().dtype == np.float32
    assert data.classes == tuple("012345")


@pytest.mark.parametrize("x", [images(0), images()[0], [[1]], np.zeros((2, 0, 4, 4))])
def test_no_statistics_of_nothing(x):
    """Images without a pixel, and a scale of 0, are refused."""
    with pytest.raises(ValueError, match=r"statistics: images must be \(N, C, H, W\) with at least one pixel"):
        statistics(x)
    with pytest.raises(ValueError, match="statistics: scale must be a finite number above 0"):
        statistics(images(), 0)


# digits


def test_digits_are_the_published_ones():
    """Put back in order, the digits are UCI's file to the byte, and scikit-learn's."""
    train, test = load("digits")
    assert (len(train), len(test), len(train.classes)) == (1297, 500, 10)
    order = np.argsort(np.random.Philox(key=0).random_raw(1797), kind="stable")
    whole = np.empty((1797, 65), np.uint8)
    for part, where in ((train, order[:1297]), (test, order[1297:])):
        whole[where] = np.hstack([part.images.reshape(len(part), 64), part.labels[:, None]])  # (n, 1, 8, 8) -> (n, 64)
    digest = "6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8"
    # The text form of UCI's optdigits.tes: 64 pixels and the label a line.
    lines = "".join(",".join(map(str, row)) + "\n" for row in whole.tolist())
    assert hashlib.sha256(lines.encode()).hexdigest() == digest
    sklearn = pytest.importorskip("sklearn.datasets")
    np.testing.assert_array_equal(whole[:, :64], sklearn.load_digits().data)
    np.testing.assert_array_equal(whole[:, 64], sklearn.load_digits().target)


def test_digits_are_normalised_by_the_training_set():
    """Both parts have the training set's mean and deviation."""
    train, test = load("digits")
    assert train.scale == 16 and train.scaled().max() == 1
    assert (train.mean, train.std) == (test.mean, test.std) == statistics(train.images, 16)
