"""A model file knows what it is: what `load_model` predicts from raw pixels is what the network says of normal ones."""

import numpy as np
import pytest

import lpnet as lp
from lpnet import classifier, nn

SHAPES = [(1, 8, 8), (3, 6, 6)]


def saved(path, shape, precision="fp32", /, **changes):
    """Save an untrained network with what a file has to say of it, but for `changes`; return data set and network."""
    rng = np.random.default_rng(0)
    dataset = lp.data.arrays(rng.integers(0, 256, (40, *shape), np.uint8), np.arange(40) % 3, ("ant", "bee", "cat"))
    lp.manual_seed(3)
    model = lp.models.build("mlp", shape, 3)
    lp.save(path, model=model, about={**classifier.about("mlp", dataset, precision, "nearest"), **changes})
    return dataset, model.eval()


@pytest.mark.parametrize("shape", SHAPES)
def test_raw_pixels_in_probabilities_out(tmp_path, shape):
    """They are the softmax of the network's result for (pixel / 255 - mean) / std, written out."""
    dataset, model = saved(tmp_path / "model.npz", shape)
    images, ours = dataset.images, lp.load_model(tmp_path / "model.npz")
    pixels = images.astype(np.float64) / 255
    mean, std = (f(pixels, axis=(0, 2, 3), keepdims=True) for f in (np.mean, np.std))
    logits = model(((pixels - mean) / std).astype(np.float32)).numpy().astype(np.float64)
    wanted = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(ours(images), wanted, rtol=1e-4)
    assert ours.predict(images[:5]) == [("ant", "bee", "cat")[i] for i in wanted[:5].argmax(axis=1)]
    assert repr(ours).endswith(f"for {'x'.join(map(str, shape))} images in 3 classes)")


@pytest.mark.parametrize("shape", SHAPES)
def test_any_layout_of_pixels_and_any_number_of_images(tmp_path, shape):
    """Channels first or last, one image or many, more than fit in one go: the same probabilities."""
    dataset, _ = saved(tmp_path / "model.npz", shape)
    ours, images = lp.load_model(tmp_path / "model.npz"), dataset.images
    whole = ours(images)
    last = np.moveaxis(images, 1, -1)
    layouts = [last, [image.tolist() for image in images]] + ([images[:, 0]] if shape[0] == 1 else [])
    for layout in layouts:
        np.testing.assert_array_equal(ours(layout), whole)
    for one in (images[4], last[4], *([images[4, 0]] if shape[0] == 1 else [])):
        np.testing.assert_allclose(ours(one), whole[4:5], rtol=1e-5)
    np.testing.assert_allclose(ours(np.tile(images, (8, 1, 1, 1))), np.tile(whole, (8, 1)), rtol=1e-5)
    assert ours(images[:0]).shape == (0, 3)


def test_rounded_as_in_training_on_request(tmp_path):
    """With `rounded` the layers have the precision that the file names, else none."""
    dataset, model = saved(tmp_path / "model.npz", (1, 8, 8), "bfp4")
    nn.lower(model, lp.Precision.uniform("bfp4", "nearest"))
    exact, rounded = (lp.load_model(tmp_path / "model.npz", rounded=r) for r in (False, True))
    x = dataset.normalize(dataset.scaled())
    np.testing.assert_array_equal(rounded(dataset.images), lp.functions.softmax(model(x), axis=1).numpy())
    assert abs(rounded(dataset.images) - exact(dataset.images)).max() > 1e-3
    assert not any(m.precision for m in exact.model.modules())


def test_predicting_draws_nothing(tmp_path):
    """Stochastic rounding of a prediction leaves the stream of a training where it was."""
    dataset, _ = saved(tmp_path / "model.npz", (1, 8, 8), "bfp4", rounding="stochastic")
    ours = lp.load_model(tmp_path / "model.npz", rounded=True)
    before = lp.random.thread_stream().state_dict()
    ours(dataset.images)
    assert lp.random.thread_stream().state_dict() == before


def test_the_best_of_a_run_comes_first(tmp_path):
    """Of the files of a folder: best, averaged, model; and where there are none, it says which."""
    with pytest.raises(FileNotFoundError, match=r"best\.npz, averaged\.npz, model\.npz"):
        lp.load_model(tmp_path)
    for name in reversed(classifier.FILES):
        saved(tmp_path / name, (1, 8, 8), classes=[name, "b", "c"])
        assert lp.load_model(tmp_path).classes[0] == name


def test_images_of_another_size_are_refused(tmp_path):
    """With both sizes."""
    saved(tmp_path / "model.npz", (1, 8, 8))
    with pytest.raises(ValueError, match=r"takes images of shape \(1, 8, 8\), got \(1, 9, 8\)"):
        lp.load_model(tmp_path)(np.zeros((2, 9, 8)))
    with pytest.raises(ValueError, match="predict: images must be numbers"):
        lp.load_model(tmp_path)(np.array([["text"]]))


@pytest.mark.parametrize(
    "changes",
    [
        {"network": "nothing"},
        {"network": "lenet"},
        {"shape": [8, 8]},
        {"shape": [1, 9, 9]},
        {"classes": ["a", "b"]},
        {"classes": 3},
        {"mean": None},
        {"mean": "x"},
        {"scale": "large"},
        {"about": 1},
    ],
    ids=str,
)
def test_a_file_that_contradicts_itself_is_refused_by_its_name(tmp_path, changes):
    """One sentence, whatever is wrong with what it says of itself."""
    saved(tmp_path / "model.npz", (1, 8, 8), **changes)
    if "about" in changes:
        lp.save(tmp_path / "model.npz", model=lp.models.small_cnn(), about=1)
    with pytest.raises(ValueError, match=r"model\.npz") as caught:
        lp.load_model(tmp_path / "model.npz")
    assert "\n" not in str(caught.value)


def test_a_file_that_says_nothing_of_itself_is_told_how_to(tmp_path):
    """The sentence names the function that makes what is missing."""
    lp.save(tmp_path / "model.npz", model=lp.models.small_cnn())
    with pytest.raises(ValueError, match=r"save it with about=lpnet\.classifier\.about"):
        lp.load_model(tmp_path / "model.npz")


def test_pictures_are_read_to_the_networks_size(tmp_path):
    """A picture of any size and kind becomes one image of the network's size and colours."""
    image = pytest.importorskip("PIL.Image")
    for i, mode in enumerate(("L", "RGB", "RGBA", "P", "1")):
        image.fromarray(np.full((20, 30 + i), 200, np.uint8)).convert(mode).save(tmp_path / f"{mode}.png")
    paths = sorted(tmp_path.glob("*.png"))
    for shape in SHAPES:
        saved(tmp_path / "model.npz", shape)
        assert lp.load_model(tmp_path).read(paths).shape == (5, *shape)
    saved(tmp_path / "model.npz", (2, 8, 8))
    with pytest.raises(ValueError, match="2x8x8, which no picture file gives"):
        lp.load_model(tmp_path).read(paths)
