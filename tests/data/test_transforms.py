"""Random crops and flips: every sample gets its own draw, and the same generator gives the same batch."""

import numpy as np
import pytest

from lpnet.data import compose, random_crop, random_flip

X = np.random.default_rng(1).random((64, 3, 6, 5)).astype(np.float32)


def rng():
    return np.random.default_rng(2)


def test_a_flip_mirrors_some_images_and_leaves_the_others():
    """Each image is itself or its mirror image, about half of them each."""
    out = random_flip()(X, rng())
    mirrored = np.array([np.array_equal(a, b[..., ::-1]) for a, b in zip(out, X, strict=True)])
    same = np.array([np.array_equal(a, b) for a, b in zip(out, X, strict=True)])
    assert (mirrored ^ same).all() and 16 < mirrored.sum() < 48


@pytest.mark.parametrize(("p", "expected"), [(0, X), (1, X[..., ::-1])])
def test_probability_0_and_1_leave_nothing_to_chance(p, expected):
    """None is mirrored, or all are."""
    np.testing.assert_array_equal(random_flip(p)(X, rng()), expected)


@pytest.mark.parametrize("padding", [1, 2, 4])
def test_a_crop_is_a_window_of_the_padded_image_and_all_windows_occur(padding):
    """Witness: every window cut out by slices."""
    many = np.tile(X[:1], (2000, 1, 1, 1))
    padded = np.pad(X[0], ((0, 0), (padding, padding), (padding, padding)))
    shifts = range(2 * padding + 1)
    windows = {padded[:, i : i + 6, j : j + 5].tobytes() for i in shifts for j in shifts}
    assert {out.tobytes() for out in random_crop(padding)(many, rng())} == windows


def test_compose_applies_in_turn_with_one_generator():
    """The second transform draws on from where the first stopped."""
    generator = rng()
    step = random_flip()(random_crop(1)(X, generator), generator)
    np.testing.assert_array_equal(compose(random_crop(1), random_flip())(X, rng()), step)


@pytest.mark.parametrize("bad", [0, -1, 1.5, True, np.float64(2.5), "2", None])
def test_a_padding_that_is_no_positive_integer_is_refused(bad):
    """By name, with what came."""
    with pytest.raises(ValueError, match="random_crop: padding must be an integer of at least 1"):
        random_crop(bad)


def test_wrong_probability_and_wrong_shape_are_refused():
    """When the transform is made, or when the batch comes."""
    for p in (2, -0.1, np.nan, np.float32(1.5), True, "0.5", None):
        with pytest.raises(ValueError, match=r"p must be a finite number from 0 to 1, got "):
            random_flip(p)
    for transform in (random_flip(), random_crop()):
        with pytest.raises(ValueError, match=r"must be \(N, C, H, W\), got shape \(4, 7\)"):
            transform(np.zeros((4, 7), np.float32), rng())


def test_numpy_scalars_are_taken_for_numbers():
    """Also small integers, twice of which do not fit their type."""
    np.testing.assert_array_equal(random_flip(np.float32(0.5))(X, rng()), random_flip(0.5)(X, rng()))
    wide = np.pad(X[:2], ((0, 0), (0, 0), (0, 120), (0, 120)))
    np.testing.assert_array_equal(random_crop(np.uint8(128))(wide, rng()), random_crop(128)(wide, rng()))


def test_what_is_no_function_is_no_transform():
    """A name is not looked up."""
    with pytest.raises(ValueError, match="compose: a transform must be a function"):
        compose(random_flip(), "flip")
