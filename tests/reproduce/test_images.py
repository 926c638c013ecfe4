"""Training on images: the paper's recipe at its size, several averages of one training, resume, divergence."""

from dataclasses import replace

import numpy as np
import pytest

import lpnet as lp
from lpnet.data import sources
from lpnet.reproduce import averaging, classification, formats, grid, images, recipes
from tests.data.small import write

DIGITS = {"data": "digits", "network": "small_cnn", "batch": 128, "momentum": 0.9, "weight_decay": 0.0, "lr": 0.1,
          "swa_lr": 0.05, "epochs": 3, "start": 2, "seed": 0, "precision": images.uniform("bfp8"),
          "averages": {"epoch": [None, None, "nearest"], "step": [1, None, "nearest"], "coarse": [1, "bfp4", "nearest"]}
          }  # fmt: skip


def here(folder, data_dir=None, ticks=None):
    return grid.Here(folder, data_dir, (ticks if ticks is not None else []).append)


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
    s = classification.settings(False, paper="cifar10")
    name = classification._name(network, "8 bits", "swa", 0)
    (task,) = [t for t in classification.tasks({"experiment": "classification", **s}) if t.name == name]
    made = []
    build = images.network
    monkeypatch.setattr(images, "network", lambda *a: made.append(build(*a)) or made[-1])
    result = classification.run({**task.settings, "batch": 3, "epochs": 2, "start": 1}, here(tmp_path / "run", cifar))
    assert made[0].n_parameters() == pytest.approx(parameters, rel=0.01)
    for errors in (result["first"], result["last"], result["averages"]["epoch"]):
        assert set(errors) == {"float", "as trained"} and all(e in (0, 100) for e in errors.values())
    assert (tmp_path / "run" / "second" / "checkpoint.npz").exists()


def test_the_papers_recipe_is_the_papers():
    """The figures of the public code, both kinds of blocks, and the mixture that the code had in effect."""
    s = classification.settings(False, paper="cifar100")
    assert (s["data"], s["batch"], s["momentum"], s["crop"], s["flip"]) == ("cifar100", 128, 0.9, 4, True)
    *formats, code = s["formats"].values()
    assert formats == [{}, images.uniform("bfp8"), images.uniform("bfp8:tensor")]
    small = [role for role, (fmt, _) in code.items() if fmt == "bfp8"]
    assert small == ["weight", "gradient", "momentum"] and code["error"] == code["activation"] == formats[2]["error"]
    assert s["networks"] == {
        "vgg16": {"epochs": 300, "start": 200, "lr": 0.05, "swa_lr": 0.01, "weight_decay": 5e-4},
        "preresnet164": {"epochs": 225, "start": 150, "lr": 0.1, "swa_lr": 0.01, "weight_decay": 3e-4},
    }
    budgets = {(t.settings["network"], t.settings["epochs"]) for t in classification.tasks(s)}
    assert budgets == {("vgg16", 300), ("preresnet164", 225)}  # SGD-LP has as many epochs as SWALP


def test_averages_of_one_training_are_swalps_own(tmp_path):
    """Each is what SWALP alone keeps, and leaves the training as it is."""
    together = images.train(DIGITS, here(tmp_path))
    for name, kind in DIGITS["averages"].items():
        alone = images.train({**DIGITS, "averages": {name: kind}}, here(tmp_path))
        assert alone["averages"][name] == together["averages"][name] and alone["last"] == together["last"]


def test_a_run_with_checkpoints_goes_on_to_the_same_errors(tmp_path, monkeypatch):
    s, ticks = {**DIGITS, "checkpoints": True, "epochs": 5}, []
    whole = images.train(s, here(tmp_path / "whole", ticks=ticks))
    assert ticks == [1] * 5  # epochs

    def stop(n, seen=[]):  # noqa: B006
        seen.append(n)
        if len(seen) == 3:
            raise KeyboardInterrupt

    fit = images.fit
    monkeypatch.setattr(images, "fit", lambda *a, **k: fit(*a, checkpoint_every=0, **k))
    with pytest.raises(KeyboardInterrupt):
        images.train(s, grid.Here(tmp_path / "killed", None, stop))
    assert images.train(s, here(tmp_path / "killed")) == whole


def test_measuring_changes_nothing(tmp_path):
    """Errors are measured on the model as it is: weights, running statistics and marks stay."""
    run = images.Training(DIGITS, here(tmp_path))
    before, marks = run.model.state_dict(), [m.precision for m in run.model.modules()]
    run.errors(run.model)
    after = run.model.state_dict()
    assert all(np.array_equal(before[k], after[k]) for k in before)
    assert marks == [m.precision for m in run.model.modules()]


def test_a_training_that_diverges_is_reported_and_the_table_says_so(tmp_path):
    s = {"experiment": "formats", **formats.settings(quick=True), "kinds": ["float", "block, 8 bits"], "epochs": 2,
         "start": 1, "seeds": 2}  # fmt: skip
    tasks = [replace(t, settings={**t.settings, "lr": 1e30}) if "stochastic" in t.name else t for t in formats.tasks(s)]
    results = grid.run(formats.run, tasks, tmp_path, progress=False)
    assert {"diverged" in results[t.name] for t in tasks if "stochastic" in t.name} == {True}
    found = formats.report(s, results)
    assert "diverged" in str(found) and not found.passed
    formats.draw(pytest.importorskip("matplotlib.figure").Figure(), s, results)


@pytest.mark.parametrize("module", [averaging, classification])
def test_reports_of_diverged_grids_fail_in_words(module):
    s = json_settings(module)
    results = {task.name: {"diverged": "the loss is nan"} for task in module.tasks(s)}
    found = module.report(s, results)
    assert "diverged" in str(found) and "level" not in str(found) and not found.passed
    module.draw(pytest.importorskip("matplotlib.figure").Figure(), s, results)


def json_settings(module):
    return {"experiment": "x", **module.settings(quick=True)}


def test_pooled_images_are_means_over_squares():
    x = np.arange(16, dtype=np.uint8).reshape(1, 1, 4, 4)
    np.testing.assert_array_equal(images._pooled(x, 2)[0, 0], [[2.5, 4.5], [10.5, 12.5]])


def test_a_scaled_loss_gives_the_same_steps(tmp_path):
    """In exact arithmetic, up to rounding in float32, a power of two changes nothing."""
    s = {**DIGITS, "precision": {}, "epochs": 1, "start": 1}
    assert images.train(s, here(tmp_path)) == images.train({**s, "loss_scale": 1024.0}, here(tmp_path))


# QPyTorch's recipes.


def test_ibm8_accumulates_in_16_bits_and_computes_in_8():
    w = lp.Parameter(np.linspace(-1, 1, 50, dtype=np.float32))
    optimizer = lp.optim.SGD([w], lr=0.1, momentum=0.9, precision=recipes.ibm8())
    w.grad = np.full(50, 1e-3, np.float32)
    optimizer.step()
    held = optimizer.state[0]["accumulator"]
    np.testing.assert_array_equal(held, lp.quantize(held, recipes.FP16))
    np.testing.assert_array_equal(w.data, lp.quantize(held, recipes.FP8, "nearest_away"))
    assert recipes.FP8.max == (2 - 2.0**-2) * 2.0**16  # QPyTorch's, which has no infinity


def test_wage_trains_ternary_weights_that_move_by_its_gradients_grid():
    w = lp.Parameter(np.random.default_rng(0).uniform(-0.5, 0.5, (8, 100)).astype(np.float32))
    optimizer = lp.optim.SGD([w], lr=1.0, precision=recipes.wage(lr=8.0))
    scale, before = recipes.layer_scale(w.shape), optimizer.state[0]["accumulator"].copy()
    w.grad = np.random.default_rng(1).standard_normal((8, 100)).astype(np.float32) * 1e-5
    optimizer.step()
    moved = (before - optimizer.state[0]["accumulator"]) * 128
    inside = abs(optimizer.state[0]["accumulator"]) < 0.5
    np.testing.assert_allclose(moved[inside], np.rint(moved[inside]), atol=1e-4)
    assert 4 <= abs(moved[inside]).max() <= 8  # the largest gradient counts as between 1/2 and 1, times lr
    assert set(np.unique(w.data * scale)) <= {-0.5, 0.0, 0.5}


@pytest.mark.parametrize("shape, scale", [((8, 3, 3, 3), 2.0), ((128, 128, 3, 3), 8.0), ((10, 6), 1.0)])
def test_wage_scales_layers_by_their_inputs(shape, scale):
    """2^round(log2(0.75 sqrt(inputs / 6))), at least 1: by hand."""
    assert recipes.layer_scale(shape) == scale


def test_shifted_brings_the_largest_into_a_half_to_one():
    for largest in (1e-9, 0.5, 0.75, 1.0, 3.0, 4.0):
        x = np.array([largest, -largest / 3], np.float32)
        y = recipes.shifted(x)
        assert 0.5 < abs(y).max() <= 1 and np.log2(x[0] / y[0]) == int(np.log2(x[0] / y[0]))
    assert not recipes.shifted(np.zeros(3, np.float32)).any()
