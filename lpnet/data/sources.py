"""Where each public data set lives: folders, file names, lengths, checksums, official addresses, class names.

The checksums of MNIST and Fashion-MNIST are those of the decompressed idx contents, the same whoever compressed them;
those of CIFAR are of the archives, whose MD5 sums on the official page are c32a1d4ab5d03f1284b67883e8d87530 (CIFAR-10)
and 03b5dce01913d631647c71ecec9e9cb8 (CIFAR-100).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class File:
    """One file: its name, and the length and SHA-256 of its (decompressed) content where a checksum is known."""

    name: str
    size: int = 0
    sha256: str = ""


@dataclass(frozen=True)
class Source:
    """A public data set and all the places where it can be."""

    name: str
    title: str  # as its authors write it
    classes: tuple[str, ...]
    train: tuple[str, ...]  # names of the files of the training set, in order
    test: tuple[str, ...]
    folders: tuple[str, ...]  # below a data folder, tried in this order
    downloads: tuple[File, ...]  # what the addresses below serve and the cache keeps
    addresses: tuple[str, ...]  # official ones, tried in this order
    label_bytes: int = 0  # CIFAR only: bytes before the pixels; the last of them is the label
    system: Path | None = None  # where a Linux distribution's package puts it

    @property
    def files(self) -> tuple[str, ...]:
        """All the files that make up the data set."""
        return self.train + self.test

    def limit(self, name: str) -> int:
        """The most bytes that one of `files` may have, decompressed: as many as the published one."""
        sizes = {file.name: file.size for file in self.downloads}
        images = 50_000 // len(self.train) if name in self.train else 10_000  # CIFAR's .bin files
        return sizes.get(name) or images * (self.label_bytes + 3 * 32 * 32)

    @property
    def wanted(self) -> str:
        """The files in words, for errors."""
        if len(self.downloads) > 1:
            return ", ".join(f"{name}[.gz]" for name in self.files)
        return f"{self.downloads[0].name} (or the {len(self.files)} .bin files in it)"


def _idx(sums: str) -> tuple[File, ...]:
    sizes = 47_040_016, 60_008, 7_840_016, 10_008
    return tuple(File(*row) for row in zip(_IDX_TRAIN + _IDX_TEST, sizes, sums.split(), strict=True))


_IDX_TRAIN = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
_IDX_TEST = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
DIGITS = File("digits.npz", 45_398, "1e601fad312d6f3a6ba211d3c823fc72732cecc1abf59c91346ea95e5a4ca645")
_TORONTO = ("https://www.cs.toronto.edu/~kriz/",)

MNIST = Source(
    name="mnist",
    title="MNIST",
    classes=tuple("0123456789"),
    train=_IDX_TRAIN,
    test=_IDX_TEST,
    folders=("mnist", "MNIST/raw", ""),
    downloads=_idx("""
        ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db
        65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5
        0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7
        ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"""),
    addresses=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
)

FASHION_MNIST = Source(
    name="fashion_mnist",
    title="Fashion-MNIST",
    classes=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    train=_IDX_TRAIN,
    test=_IDX_TEST,
    folders=("fashion-mnist", "fashion_mnist", "FashionMNIST/raw", ""),
    downloads=_idx("""
        c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888
        bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9
        5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b
        0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"""),
    addresses=("https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",),
    system=Path("/usr/share/datasets/fashion-mnist"),  # Debian's package dataset-fashion-mnist
)

CIFAR10 = Source(
    name="cifar10",
    title="CIFAR-10",
    classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    train=tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
    test=("test_batch.bin",),
    folders=("cifar10", "cifar10/cifar-10-batches-bin", "cifar-10-batches-bin", ""),
    downloads=(
        File(
            "cifar-10-binary.tar.gz",
            170_052_171,
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        ),
    ),
    addresses=_TORONTO,
    label_bytes=1,
)

CIFAR100 = Source(
    name="cifar100",
    title="CIFAR-100",
    classes=(  # the fine ones
        "apple",
        "aquarium_fish",
        "baby",
        "bear",
        "beaver",
        "bed",
        "bee",
        "beetle",
        "bicycle",
        "bottle",
        "bowl",
        "boy",
        "bridge",
        "bus",
        "butterfly",
        "camel",
        "can",
        "castle",
        "caterpillar",
        "cattle",
        "chair",
        "chimpanzee",
        "clock",
        "cloud",
        "cockroach",
        "couch",
        "crab",
        "crocodile",
        "cup",
        "dinosaur",
        "dolphin",
        "elephant",
        "flatfish",
        "forest",
        "fox",
        "girl",
        "hamster",
        "house",
        "kangaroo",
        "keyboard",
        "lamp",
        "lawn_mower",
        "leopard",
        "lion",
        "lizard",
        "lobster",
        "man",
        "maple_tree",
        "motorcycle",
        "mountain",
        "mouse",
        "mushroom",
        "oak_tree",
        "orange",
        "orchid",
        "otter",
        "palm_tree",
        "pear",
        "pickup_truck",
        "pine_tree",
        "plain",
        "plate",
        "poppy",
        "porcupine",
        "possum",
        "rabbit",
        "raccoon",
        "ray",
        "road",
        "rocket",
        "rose",
        "sea",
        "seal",
        "shark",
        "shrew",
        "skunk",
        "skyscraper",
        "snail",
        "snake",
        "spider",
        "squirrel",
        "streetcar",
        "sunflower",
        "sweet_pepper",
        "table",
        "tank",
        "telephone",
        "television",
        "tiger",
        "tractor",
        "train",
        "trout",
        "tulip",
        "turtle",
        "wardrobe",
        "whale",
        "willow_tree",
        "wolf",
        "woman",
        "worm",
    ),
    train=("train.bin",),
    test=("test.bin",),
    folders=("cifar100", "cifar100/cifar-100-binary", "cifar-100-binary", ""),
    downloads=(
        File(
            "cifar-100-binary.tar.gz",
            168_513_733,
            "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
        ),
    ),
    addresses=_TORONTO,
    label_bytes=2,
)

SOURCES = {source.name: source for source in (MNIST, FASHION_MNIST, CIFAR10, CIFAR100)}
