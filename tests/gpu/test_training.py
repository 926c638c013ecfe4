"""Training on the stand-in for CuPy: layers, networks, `fit`, resuming on the other device; no step waits."""

import numpy as np
import pytest

import lpnet as lp
from lpnet import cli, models, nn
from lpnet import functions as F
from lpnet.reproduce.experiment import Context
from lpnet.reproduce.images import Training, train
from lpnet.training import diagnosis

from ..nn.cases import LAYERS
from . import blas
from .conftest import Real


def run(layer, x, xp):
    """Return output, gradients and buffers of a layer, on the host."""
    x = lp.Tensor(xp.asarray(x), requires_grad=True)
    y = layer(x)
    y.backward(xp.asarray(np.linspace(-1, 1, y.size, dtype=np.float32).reshape(y.shape)))
    layer.eval()
    gx = [] if x.grad is None else [x.grad]
    return [y.data, *gx, *(p.grad for p in layer.parameters()), *(b.data for b in layer.buffers()), layer(x).data]


@pytest.mark.parametrize("name", LAYERS)
def test_layers(cupy, name):
    """A layer gives NumPy's numbers in training and evaluation, and waits for nothing."""
    make, shape = LAYERS[name].make, LAYERS[name].shape
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    x = x if not LAYERS[name].rows else abs(x).astype(int).astype(np.float32)
    results = []
    for device, xp in (("cpu", np), ("cuda", cupy)):
        lp.manual_seed(0)
        layer = make().to(device)
        with cupy.no_waiting():
            results.append(run(layer, x, xp))
    for host, device in zip(*results, strict=True):
        np.testing.assert_allclose(device.get(), host, rtol=1e-4, atol=1e-5)


def images(n, size=8, seed=0):
    """Return images that are numbers of bfp8 (a sample a block), and labels."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 1, size, size)).astype(np.float32)
    return lp.quantize(x, "bfp8"), rng.integers(0, 10, n)


def plain_network():
    """Return a network whose sums of rounded numbers are all exact: no normalization, no mean."""
    lp.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2),
        nn.ReLU(),
        nn.MaxPool2d(3),
        nn.Conv2d(8, 8, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8, 10),
    )


def first_step(cupy, device):
    """Return what each layer put out in a step, and the weights after it, on the host."""
    net, seen = plain_network().to(device), []
    for m in net.modules():
        if getattr(m, "bias", None) is not None:
            m.bias.data *= 0  # a bias is no multiple of the products' gap: with one, sums are rounded
    nn.lower(net, "bfp8", layers=(nn.Conv2d, nn.ReLU, nn.Linear))
    optimizer = lp.optim.SGD(net.parameters(), 0.5, 0.9, precision="bfp8")
    x, labels = images(32)
    x = lp.quantize(lp.to_device(x, device), "bfp8")
    nn.module.forward_hooks.append(lambda m, y: seen.append((type(m).__name__, y.data)))
    try:
        with cupy.no_waiting():
            loss = F.cross_entropy(net(x), labels)
            loss.backward()
            optimizer.step()
    finally:
        nn.module.forward_hooks.pop()
    return [(name, lp.to_device(y, "cpu")) for name, y in seen], net.state_dict()


def test_first_steps_rounded_activations_are_the_same_bits(cupy):
    """Where sums are exact, both devices round the same numbers with the same random bits; products are in TF32.

    NumPy's products and the emulated tensor cores, which read 11 digits of an operand, agree to the bit.
    """
    (on_cpu, weights), (on_gpu, others) = first_step(cupy, "cpu"), first_step(cupy, "cuda")
    assert [name for name, _ in on_cpu] == [name for name, _ in on_gpu]
    for (name, one), (_, other) in zip(on_cpu, on_gpu, strict=True):
        np.testing.assert_array_equal(one, other, err_msg=name, strict=True)
    # forward, and back to weights and inputs, but for the images
    assert isinstance(cupy, Real) or blas.calls.count("TF32") == 3 * 4 - 1
    for name in weights:  # errors pass exp and log, whose last bit may differ
        np.testing.assert_allclose(others[name], weights[name], atol=np.abs(weights[name]).max() / 32, err_msg=name)


@pytest.mark.parametrize("name", ["lenet", "preresnet20", "vgg16_bn", "logistic_regression"])
def test_networks_train_without_a_wait(cupy, name):
    """A step in 8 bits of the networks, with average, waits for nothing and moves every parameter."""
    shape = {"lenet": (1, 28, 28), "logistic_regression": (1, 8, 8)}.get(name, (3, 32, 32))
    lp.manual_seed(0)
    net = models.build(name, shape, 10).to("cuda")
    nn.lower(net, "bfp8")
    optimizer = lp.optim.SGD(net.parameters(), 0.05, 0.9, 5e-4, precision="bfp8")
    swalp = lp.optim.SWALP(net, optimizer, 0, 1)
    x = cupy.asarray(np.random.default_rng(0).standard_normal((2, *shape)).astype(np.float32))
    before = net.state_dict()
    with cupy.no_waiting():
        F.cross_entropy(net(x), cupy.asarray(np.array([1, 2]))).backward()
        optimizer.step()
        swalp.step()
    moved = [name for name, array in net.state_dict().items() if (array != before[name]).any()]
    assert len(moved) > 0.8 * len(before)


def trained(device, out=None, epochs=2, resume=False, steps=5):
    """Return the log and weights of a short training."""
    lp.manual_seed(0)
    net = models.small_cnn().to(device)
    nn.lower(net, "bfp8")
    x, y = images(64 * steps)
    loader = lp.data.DataLoader((x, y), 64, shuffle=True)
    optimizer = lp.optim.SGD(net.parameters(), 0.05, 0.9, precision="bfp8")
    swalp = lp.optim.SWALP(net, optimizer, 4, 1)
    log = lp.fit(
        net, loader, loader, epochs=epochs, optimizer=optimizer, swalp=swalp, out=out, resume=resume, progress=False
    )
    return log, net.state_dict()


def test_fit_reads_the_loss_once_an_epoch(fake):
    """Training on the device gives the CPU's losses, and waits as often for ten steps an epoch as for five."""
    log, _ = trained("cpu")
    got, _ = trained("cuda")
    for row, other in zip(log, got, strict=True):
        assert row.keys() == other.keys()
        assert other["train_loss"] == pytest.approx(row["train_loss"], rel=0.05)
    waits = []
    for steps in (5, 10):
        fake.waits.clear()
        trained("cuda", steps=steps, epochs=1)
        waits.append(len(fake.waits))
    assert waits[0] == waits[1]


@pytest.mark.parametrize("first, second", [("cpu", "cuda"), ("cuda", "cpu")])
def test_fit_resumes_on_the_other_device(cupy, tmp_path, monkeypatch, first, second):
    """A run begun on one device goes on on the other, at the very next step."""
    monkeypatch.setattr("lpnet.picture.try_save", lambda *_: True)
    whole, _ = trained("cpu")
    begun, _ = trained(first, tmp_path / "run", epochs=1)
    log, _ = trained(second, tmp_path / "run", epochs=2, resume=True)
    assert log[0] == begun[0] and [row["step"] for row in log] == [5, 10]
    assert log[1]["train_loss"] == pytest.approx(whole[1]["train_loss"], rel=0.05)


def test_the_command_line_resumes_on_the_other_device(cupy, tmp_path, monkeypatch, capsys):
    """--device may change when a run goes on; eval takes it, too, and without it the GPU is used where it works."""
    monkeypatch.setattr("lpnet.picture.try_save", lambda *_: True)
    monkeypatch.setattr("lpnet.training.run.evaluate", lambda *_: {"loss": 1.0, "error": 2.0})
    command = [
        "train",
        "--model",
        "logistic_regression",
        "--precision",
        "bfp8",
        "--epochs",
        "1",
        "--quiet",
        "--out",
        str(tmp_path / "run"),
    ]
    assert cli.main([*command, "--device", "cpu"]) == 0 and "on cpu" in capsys.readouterr().out
    assert cli.main([*command, "--resume"]) == 0 and "on cuda" in capsys.readouterr().out
    for device in ("cpu", "cuda"):
        assert cli.main(["eval", str(tmp_path / "run"), "--device", device]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == lines[4] and len(lines) == 6  # exact activations: the same loss and error to the digits shown


def test_a_loss_that_is_not_finite_is_found(cupy, monkeypatch):
    """On a GPU it is found at the next look, and where it came from is told."""
    monkeypatch.setattr(diagnosis, "INTERVAL", 3)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).to("cuda")
    x, y = images(256)
    loader = lp.data.DataLoader((x, y), 32)
    optimizer = lp.optim.SGD(net.parameters(), 1e38, 0.9)
    with pytest.raises(FloatingPointError, match=r"stopped at step 3 .* of the last 3 steps.* layer '1' \(Linear\)"):
        lp.fit(net, loader, epochs=1, optimizer=optimizer, progress=False)


def test_update_bn_and_evaluate_take_batches_of_the_host(cupy):
    """Both move batches to where the model is, and give the CPU's numbers."""
    results = []
    for device in ("cpu", "cuda"):
        lp.manual_seed(0)
        net = models.small_cnn().to(device)
        loader = lp.data.DataLoader(images(50), 20)
        lp.optim.update_bn(net, loader)
        results.append([*net.state_dict().values(), *lp.evaluate(net, loader).values()])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-5)


def test_trace_reads_what_is_on_the_device(cupy):
    """`trace` counts the same numbers on both devices."""
    tables = []
    for device in ("cpu", "cuda"):
        net = plain_network().to(device)
        nn.lower(net, "bfp8")
        with lp.trace(net) as trace:
            net(lp.to_device(images(4)[0], device))
        tables.append(str(trace))
    assert tables[0] == tables[1]


def test_the_experiments_train_on_the_device(cupy, tmp_path):
    """An epoch and an average there give test errors like the CPU's; 50 of 500 digits are 10 points."""
    s = Training(
        "digits",
        "small_cnn",
        epochs=2,
        start=1,
        lr=0.1,
        swa_lr=0.05,
        weight_decay=0.0,
        crop=0,
        precision=lp.recipes.swalp(),
        loss_scale=8.0,
    )
    errors = [train(s, 0, Context(tmp_path, None, device)) for device in ("cpu", "cuda")]
    assert isinstance(cupy, Real) or "TF32" in blas.calls
    for one, other in zip(*(e["averages"]["epoch"].values() for e in errors), strict=True):
        assert abs(one - other) < 10
