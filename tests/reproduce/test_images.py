"""Training on images: the paper's recipe at its size, several averages of one training, resume, divergence."""

import re
from dataclasses import replace

import numpy as np
import pytest

import lpnet as lp
from lpnet import recipes, reproduce
from lpnet.data import sources
from lpnet.reproduce import images
from lpnet.reproduce.classification import FORMATS, Classification
from lpnet.reproduce.experiment import Context
from lpnet.reproduce.formats import Formats
from lpnet.reproduce.images import Average, Training, train
from tests.data.small import write

AVERAGES = (Average("epoch"), Average("step", 1), Average("coarse", 1, "bfp4"))
DIGITS = Training(
    "digits",
    "small_cnn",
    epochs=3,
    start=2,
    lr=0.1,
    swa_lr=0.05,
    weight_decay=0.0,
    crop=0,
    precision=recipes.swalp(),
    averages=AVERAGES,
)


@pytest.fixture
def cifar(tmp_path):
    """CIFAR-10 in its own binary format: a label and 3,072 pixels a record; 5 training images and a test image."""
    rng = np.random.default_rng(0)

    def records(n):
        return b"".join(bytes([i % 10]) + rng.integers(0, 256, 3072, np.uint8).tobytes() for i in range(n))

    contents = {name: records(1) for name in sources.CIFAR10.files}
    write(tmp_path / "data" / "cifar-10-batches-bin", contents)
    return tmp_path / "data"


@pytest.mark.parametrize("network, parameters", [("vgg16", 15_245_130), ("preresnet164", 1_704_154)])
def test_the_papers_recipe_runs_at_its_size_on_cifars_own_files(network, parameters, cifar, tmp_path, monkeypatch):
    """Two steps of SGD and two of SWALP, small blocks; only batches and epochs are cut."""
    experiment = Classification.paper("cifar10")
    (task,) = [t for t in experiment.tasks() if t.name == f"{network}-8-bits-swa-0"]
    made = []
    build = images.network
    monkeypatch.setattr(images, "network", lambda *a: made.append(build(*a)) or made[-1])
    short = replace(task, settings=replace(task.settings, batch=3, epochs=2, start=1))
    result = experiment.run(short, Context(tmp_path / "run", cifar))
    assert made[0].n_parameters() == pytest.approx(parameters, rel=0.01)
    for errors in (result["first"], result["last"], result["averages"]["epoch"]):
        assert set(errors) == {"float", "as trained"} and all(e in (0, 100) for e in errors.values())
    assert (tmp_path / "run" / "second" / "checkpoint.npz").exists()


def test_the_papers_recipe_is_the_papers():
    """The figures of the public code, both kinds of blocks, and the mixture that the code had in effect."""
    experiment = Classification.paper("cifar100")
    figures = {
        "vgg16": {"epochs": 300, "start": 200, "lr": 0.05, "swa_lr": 0.01, "weight_decay": 5e-4},
        "preresnet164": {"epochs": 225, "start": 150, "lr": 0.1, "swa_lr": 0.01, "weight_decay": 3e-4},
    }
    shared = {"data": "cifar100", "batch": 128, "momentum": 0.9, "crop": 4, "flip": True, "images": None, "pool": 1}
    for network in experiment.networks:
        assert {**shared, **figures[network.network]}.items() <= vars(network).items()
    exact, small, big, code = (FORMATS[name] for name in experiment.formats)
    roles = ("weight", "activation", "error", "gradient", "momentum")
    assert exact == lp.Precision()
    assert all(getattr(small, role) == rounder for role, rounder in vars(lp.Precision.uniform("bfp8")).items())
    assert {str(getattr(big, role).format) for role in roles} == {"bfp8:tensor"}
    assert [role for role in roles if getattr(code, role) == getattr(small, role)] == ["weight", "gradient", "momentum"]
    assert (code.activation, code.error) == (big.activation, big.error)
    budgets = {(task.settings.network, task.settings.epochs) for task in experiment.tasks()}
    assert budgets == {("vgg16", 300), ("preresnet164", 225)}  # SGD-LP has as many epochs as SWALP


def test_averages_of_one_training_are_swalps_own(tmp_path):
    """Each is what SWALP alone keeps, and leaves the training as it is."""
    together = train(DIGITS, 0, Context(tmp_path))
    for average in AVERAGES:
        alone = train(replace(DIGITS, averages=(average,)), 0, Context(tmp_path))
        assert alone["averages"][average.name] == together["averages"][average.name]
        assert alone["last"] == together["last"]


def test_a_run_with_checkpoints_goes_on_to_the_same_errors(tmp_path, monkeypatch):
    """One that is interrupted while it averages goes on from its last checkpoint."""
    s, fit, epochs = replace(DIGITS, checkpoints=True, epochs=5), images.fit, []
    whole = train(s, 0, Context(tmp_path / "whole"))

    def stop(row):
        epochs.append(row["epoch"])
        if len(epochs) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(images, "fit", lambda *a, **k: fit(*a, **{**k, "progress": stop, "checkpoint_every": 0}))
        with pytest.raises(KeyboardInterrupt):
            train(s, 0, Context(tmp_path / "killed"))
    assert epochs == [1, 2, 1]
    assert train(s, 0, Context(tmp_path / "killed")) == whole
    with pytest.raises(ValueError, match="seed=0"):
        train(s, 1, Context(tmp_path / "killed"))


@pytest.fixture
def pictures(tmp_path):
    """A folder of ImageNet's layout: three classes, each of one colour with some noise, 2 to train on and 1 to test."""
    image, rng = pytest.importorskip("PIL.Image"), np.random.default_rng(0)
    for part, n in (("train", 2), ("val", 1)):
        for i, name in enumerate(("n01440764", "n01443537", "n01484850")):
            folder = tmp_path / "pictures" / part / name
            folder.mkdir(parents=True)
            for j in range(n):
                colours = 60 * np.eye(3)[i] + rng.integers(60, 120, (40, 50, 3))  # wider than high
                image.fromarray(colours.astype(np.uint8)).save(folder / f"{j}.jpeg")
    return tmp_path / "pictures"


def test_imagenets_recipe_runs_on_a_small_folder_of_its_layout(pictures, tmp_path):
    """ResNet-18, cropped and resized to windows of 28, in both formats, SGD and SWA, to a report."""
    paper = Classification.paper("imagenet")
    (network,) = paper.networks
    assert vars(network).items() >= {"network": "resnet18", "size": 224, "epochs": 120, "batch": 256}.items()
    assert [network.schedule()(epoch) for epoch in (0, 30, 60)] == pytest.approx([0.1, 0.01, 0.001])
    small = replace(network, size=28, epochs=2, start=1, batch=6, checkpoints=False)
    experiment = replace(paper, networks=(small,), seeds=1)
    results = reproduce.compute(experiment, Context(tmp_path / "runs", pictures))
    assert len(results) == 4 and not any("diverged" in result for result in results.values())
    assert "resnet18" in str(experiment.report(results))


def test_imagenet_sees_windows_in_training_and_the_middle_elsewhere(pictures):
    """Of pictures whose shorter side has 8/7 of the size."""
    train, test = images.read("imagenet", pictures, 28)
    assert train.images.shape == (6, 3, 32, 32) and test.images.shape == (3, 3, 32, 32)
    run = images.Trainer(
        replace(Classification.paper("imagenet").networks[0], size=28, batch=6), 0, Context(None, pictures)
    )
    shapes = {next(iter(loader))[0].shape[1:] for loader in (run.loader, run.plain, run.test)}
    assert shapes == {(3, 28, 28)}
    assert np.array_equal(images.middle(test, 28).images, test.images[:, :, 2:30, 2:30])


@pytest.mark.parametrize("folder", [None, "missing", "."])
def test_imagenet_without_its_folder_says_what_it_needs(folder, tmp_path):
    """And nothing is written."""
    data_dir = None if folder is None else tmp_path / folder
    with pytest.raises((FileNotFoundError, ValueError), match=r"train/|no such|a folder for each class"):
        reproduce.run("classification", tmp_path / "out", paper="imagenet", data_dir=data_dir)
    assert not (tmp_path / "out").exists()


def test_measuring_changes_nothing(tmp_path):
    """Errors are measured on the model as it is: weights, running statistics and marks stay."""
    run = images.Trainer(DIGITS, 0, Context(tmp_path))
    before, marks = run.model.state_dict(), [m.precision for m in run.model.modules()]
    run.errors(run.model)
    after = run.model.state_dict()
    assert all(np.array_equal(before[k], after[k]) for k in before)
    assert marks == [m.precision for m in run.model.modules()]


def test_a_training_that_diverges_is_reported_and_the_table_says_so(tmp_path, monkeypatch):
    """Here all that are rounded stochastically, by their learning rate."""
    quick = Formats.quick()
    experiment = replace(quick, training=replace(quick.training, epochs=2, start=1), kinds=("float", "block, 8 bits"))
    run = Formats.run

    def too_fast(self, task, context):
        settings = replace(task.settings, lr=1e30) if "stochastic" in task.name else task.settings
        return run(self, replace(task, settings=settings), context)

    monkeypatch.setattr(Formats, "run", too_fast)
    results = reproduce.compute(experiment, Context(tmp_path))
    assert {name: "diverged" in result for name, result in results.items()} == {
        task.name: "stochastic" in task.name for task in experiment.tasks()
    }
    found = experiment.report(results)
    assert "diverged" in str(found) and not found.passed
    experiment.draw(pytest.importorskip("matplotlib.figure").Figure(), results)


@pytest.mark.parametrize("experiment", [kind.quick() for kind in reproduce.EXPERIMENTS.values()], ids=type)
def test_reports_of_diverged_experiments_fail_in_words(experiment):
    """No experiment passes by having nothing to show, and all draw their picture."""
    results = {task.name: {"diverged": "the loss is nan"} for task in experiment.tasks()}
    found = experiment.report(results)
    assert re.search("diverged|nan", str(found)) and "level" not in str(found) and not found.passed
    experiment.draw(pytest.importorskip("matplotlib.figure").Figure(), results)


def test_pooled_images_are_means_over_squares():
    x = np.arange(16, dtype=np.uint8).reshape(1, 1, 4, 4)
    np.testing.assert_array_equal(images.pooled(x, 2)[0, 0], [[2.5, 4.5], [10.5, 12.5]])


def test_a_scaled_loss_gives_the_same_steps(tmp_path):
    """In exact arithmetic, up to rounding in float32, a power of two changes nothing."""
    s = replace(DIGITS, precision=lp.Precision(), epochs=1, start=1)
    assert train(s, 0, Context(tmp_path)) == train(replace(s, loss_scale=1024.0), 0, Context(tmp_path))
