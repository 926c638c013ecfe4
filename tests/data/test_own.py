"""Data of one's own: what is read is what was written, splits are seeded and keep the classes' shares."""

import numpy as np
import pytest

import lpnet as lp
from lpnet.data import arrays, folder, parts, split

Image = pytest.importorskip("PIL.Image")


def draw(root, classes=("circle", "line"), count=6, shape=(12, 10), mode="RGB"):
    """Write `count` pictures a class, each of one brightness, and return the folder."""
    for c, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(count):
            value = 40 * c + 10 * i
            image = Image.new(mode, (shape[1], shape[0]), value if mode == "L" else (value, 0, 7))
            image.save(root / name / f"{i}.png")
    return root


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_folder_of_pictures_is_its_pixels(tmp_path, mode):
    """PNG loses nothing: a picture of one colour is that colour, at any size."""
    dataset = folder(draw(tmp_path / "d", mode=mode), size=8)
    assert dataset.classes == ("circle", "line") and dataset.images.shape == (12, 3 if mode == "RGB" else 1, 8, 8)
    want = [40 * c + 10 * i for c in range(2) for i in range(6)]
    np.testing.assert_array_equal(dataset.images[:, 0], np.broadcast_to(np.reshape(want, (12, 1, 1)), (12, 8, 8)))
    x = dataset.normalize(dataset.scaled())
    assert abs(x[:, 0].mean()) < 1e-5 and abs(x[:, 0].std() - 1) < 1e-5


def test_a_grey_picture_among_coloured_ones_has_three_equal_colours(tmp_path):
    root = draw(tmp_path / "d")
    Image.new("L", (12, 12), 99).save(root / "line" / "grey.jpg")
    images = folder(root, 4).images
    assert images.shape[1] == 3 and (images[-1] == 99).all()


def test_parts_of_a_folder_have_the_classes_and_the_normalisation_of_the_training_set(tmp_path):
    """train/, val/ and test/ as ImageNet has them; a class that a part lacks is refused."""
    for part, count in (("train", 5), ("val", 2), ("test", 3)):
        draw(tmp_path / "d" / part, count=count)
    found = parts(tmp_path / "d", 8)
    assert {name: len(dataset) for name, dataset in found.items()} == {"train": 10, "val": 4, "test": 6}
    assert len({dataset.mean for dataset in found.values()}) == 1
    (tmp_path / "d" / "val" / "line").rename(tmp_path / "d" / "val" / "other")
    with pytest.raises(FileNotFoundError, match=r"line: no such folder"):
        parts(tmp_path / "d", 8)


def test_a_split_is_seeded_and_takes_its_share_of_every_class():
    """The same seed gives the same samples, another others; no sample is in both parts."""
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    dataset = arrays(np.arange(100, dtype=np.uint8).reshape(100, 1, 1), labels)
    rest, part = split(dataset, 0.2, 7)
    assert np.bincount(part.labels).tolist() == [10, 6, 4]
    assert sorted([*rest.images.ravel(), *part.images.ravel()]) == list(range(100))
    assert part.mean == rest.mean == lp.data.statistics(rest.images)[0]
    np.testing.assert_array_equal(split(dataset, 0.2, 7)[1].images, part.images)
    assert (split(dataset, 0.2, 8)[1].images != part.images).any()
    with pytest.raises(ValueError, match="class '1' has one sample"):
        split(arrays(np.zeros((3, 1, 1), np.uint8), [0, 0, 1]), 0.5)


@pytest.mark.parametrize("shape", [(6, 5, 4), (6, 1, 5, 4), (6, 5, 4, 3), (6, 9)])
def test_arrays_of_every_layout_hold_the_same_numbers(shape):
    """Channels may be last; a table has a channel a column."""
    x = np.arange(np.prod(shape)).reshape(shape) / 7
    dataset = arrays(x, list("bababc"))
    assert dataset.images.ndim == 4
    assert dataset.classes == ("a", "b", "c") and dataset.labels.tolist() == [1, 0, 1, 0, 1, 2]
    assert sorted(dataset.images.ravel()) == sorted(x.astype(np.float32).ravel())
    assert dataset.images[2, -1, -1, -1] == x[2].ravel()[-1].astype(np.float32)


@pytest.mark.parametrize(
    "keys",
    [
        ("x", "y", None, None),
        ("images", "labels", None, None),
        ("x_train", "y_train", "x_test", "y_test"),
        ("train_images", "train_labels", "test_images", "test_labels"),
    ],
)
def test_an_npz_is_its_arrays(tmp_path, keys):
    """By the names that Keras and MedMNIST use, too."""
    x, y = np.arange(36, dtype=np.uint8).reshape(4, 3, 3), np.array([0, 1, 0, 1])
    held = {key: (x if i % 2 == 0 else y) for i, key in enumerate(keys) if key}
    np.savez(tmp_path / "a.npz", **held)
    found = parts(tmp_path / "a.npz")
    assert list(found) == (["train", "test"] if keys[2] else ["train"])
    np.testing.assert_array_equal(found["train"].images[:, 0], x)


def test_a_table_is_its_numbers_and_pixels_are_an_image(tmp_path):
    """Columns are channels with their own mean; pixel columns are a picture."""
    (tmp_path / "t.csv").write_text("width,height,label\n1,10,cat\n3,20,dog\n5,60,cat\n")
    table = parts(tmp_path / "t.csv")["train"]
    assert table.images.shape == (3, 2, 1, 1) and table.classes == ("cat", "dog") and table.mean == (3, 30)
    (tmp_path / "p.csv").write_text("label,1x1,1x2,2x1,2x2\n1,0,255,3,4\n0,1,2,3,4\n")
    pixels = parts(tmp_path / "p.csv")["train"]
    assert pixels.images.dtype == np.uint8 and pixels.images[0, 0].tolist() == [[0, 255], [3, 4]]


def broken(tmp_path):
    """Yield (what is handed in, words of the sentence) for sources that are wrong."""
    empty = tmp_path / "empty"
    empty.mkdir()
    one = draw(tmp_path / "one", classes=("only",))
    bad = draw(tmp_path / "bad")
    (bad / "line" / "x.png").write_bytes(b"no picture")
    hollow = draw(tmp_path / "hollow")
    (hollow / "nothing").mkdir()
    for name, text in (
        ("no.csv", "a,b\n1,2\n"),
        ("short.csv", "a,label\n1\n"),
        ("text.csv", "a,label\nx,1\n"),
        ("head.csv", "a,label\n"),
        ("bytes.csv", "\0\0"),
        ("a.txt", "x"),
    ):
        (tmp_path / name).write_text(text)
    (tmp_path / "zip.npz").write_bytes(b"PK\3\4 and nothing")
    np.savez(tmp_path / "other.npz", z=np.zeros(3))
    np.savez(tmp_path / "odd.npz", x=np.zeros((3, 2, 2)), y=np.zeros(4, int))
    np.savez(tmp_path / "text.npz", x=np.array(["a"]), y=np.zeros(1, int))
    np.savez(tmp_path / "nan.npz", x=np.full((2, 2, 2), np.nan), y=np.zeros(2, int))
    yield from ((empty, "no pictures"), (one, "one class only"), (bad, "x.png is no picture"), (hollow, "nothing: no"))
    yield from (
        (tmp_path / name, words)
        for name, words in (
            ("no.csv", "no column named label"),
            ("short.csv", "line 2"),
            ("text.csv", "line 2: could not convert"),
            ("head.csv", "line 2"),
            ("bytes.csv", "bytes.csv"),
            ("a.txt", "expected a folder"),
            ("gone", "no such file"),
            ("zip.npz", "no .npz file"),
            ("other.npz", "expected arrays x and y"),
            ("odd.npz", "labels have shape"),
            ("text.npz", "must be numbers"),
            ("nan.npz", "not finite"),
        )
    )


def test_what_is_wrong_gets_a_sentence_that_names_it(tmp_path):
    """One line, with the file."""
    for source, words in broken(tmp_path):
        with pytest.raises((ValueError, OSError), match=words) as told:
            parts(source, 8)
        assert "\n" not in str(told.value), source


def test_the_crop_of_the_whole_image_is_the_image():
    """scale 1, ratio 1, the same size: no pixel changes; smaller crops stay within the values there are."""
    rng = np.random.default_rng(0)
    x = rng.random((3, 2, 9, 9)).astype(np.float32)
    same = lp.data.random_resized_crop(9, (1, 1), (1, 1))(x, rng)
    np.testing.assert_allclose(same, x, atol=1e-6)
    y = lp.data.random_resized_crop(5)(x, rng)
    assert y.shape == (3, 2, 5, 5) and y.min() >= x.min() and y.max() <= x.max()


def test_a_crop_of_a_ramp_is_a_ramp():
    """Linear interpolation is exact on what is linear: a crop of a slope has one slope, at most that of the image."""
    x = np.broadcast_to(np.arange(16, dtype=np.float32), (4, 1, 16, 16)).copy()
    y = lp.data.random_resized_crop(6, (0.2, 0.5))(x, np.random.default_rng(1))
    steps = np.diff(y, axis=3)[..., 1:-1]
    np.testing.assert_allclose(steps, np.broadcast_to(steps[..., :1], steps.shape), atol=1e-4)


@pytest.mark.parametrize(
    "wrong", [{"size": 0}, {"size": 4, "scale": (0.5, 0.1)}, {"size": 4, "scale": (0, 1)}, {"size": 4, "ratio": 3}]
)
def test_a_wrong_crop_is_refused(wrong):
    with pytest.raises(ValueError, match="random_resized_crop: "):
        lp.data.random_resized_crop(**wrong)
