"""Moving between devices, and one clear sentence for whatever is not to be had."""

import contextlib
import sys
import types

import numpy as np
import pytest

import lpnet as lp
from lpnet import backend, cli
from lpnet import functions as F

from ..optim.cases import OPTIMIZERS
from . import standin


def model():
    """Return a small network with every kind of state."""
    lp.manual_seed(3)
    nn = lp.nn
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(64, 10),
    )


def batch(n=16):
    """Return images and labels."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, 1, 8, 8), np.float32), rng.integers(0, 10, n)


def arrays(state):
    """Yield the arrays of nested dictionaries."""
    for value in state.values():
        if isinstance(value, dict):
            yield from arrays(value)
        elif isinstance(value, np.ndarray):
            yield value


def test_modules_move_there_and_back(cupy):
    """Parameters and buffers move, with their numbers; gradients do not."""
    net = model()
    before = net.state_dict()
    assert net.device == "cpu" and net.to("cuda") is net and net.device == "cuda"
    assert all(isinstance(t.data, cupy.ndarray) for t in (*net.parameters(), *net.buffers()))
    assert all(isinstance(a, np.ndarray) for a in net.state_dict().values())
    net.to("cpu")
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("precision", [None, "bfp8", lp.Precision(weight="e4m3", accumulator="fixed16.12")])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_and_averages_follow_the_model(cupy, name, precision):
    """The weights after steps on both devices are those of steps on one; no step waits for the GPU."""
    ends = []
    for device in ("cpu", "cuda"):
        net = model()
        optimizer = OPTIMIZERS[name](net.parameters(), float, precision)
        swalp = lp.optim.SWALP(net, optimizer, 0, 1, average="bfp12")
        rng = np.random.default_rng(1)
        for step in range(4):
            net.to(device if step % 2 else "cpu")
            for p in net.parameters():
                p.grad = lp.to_device(rng.standard_normal(p.shape).astype(np.float32), p.device)
            with cupy.no_waiting() if step == 3 else contextlib.nullcontext():
                optimizer.step()
                swalp.step()
        averaged = swalp.averaged
        assert net.device == averaged.device == device
        ends.append([net.state_dict(), optimizer.state_dict()["state"], swalp.state_dict(), averaged.state_dict()])
    for ours, theirs in zip(*ends, strict=True):
        for one, other in zip(arrays(ours), arrays(theirs), strict=True):
            np.testing.assert_array_equal(one, other, strict=True)


def test_a_checkpoint_of_one_device_resumes_on_the_other(cupy, tmp_path):
    """What is saved on one device loads on the other, to the bit, and does not tell where it was saved."""
    files = {}
    for device in ("cpu", "cuda"):
        net = model().to(device)
        optimizer = lp.optim.SGD(net.parameters(), 0.1, 0.9)
        for p in net.parameters():
            p.grad = lp.to_device(np.full(p.shape, 0.5, np.float32), device)
        optimizer.step()
        files[device] = tmp_path / f"{device}.npz"
        lp.save(files[device], model=net, optimizer=optimizer, array=next(net.parameters()).data)
    assert files["cpu"].read_bytes() == files["cuda"].read_bytes()
    for device, other in (("cpu", "cuda"), ("cuda", "cpu")):
        net = model().to(other)
        optimizer = lp.optim.SGD(net.parameters(), 0.1, 0.9)
        state = lp.load(files[device])
        net.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        assert net.device == other
        assert all(backend.device_of(a) == other for s in optimizer.state for a in s.values())
        for name, array in net.state_dict().items():
            np.testing.assert_array_equal(array, state["model"][name], strict=True)


def test_batches_come_on_the_device(cupy):
    """A loader gives its batches where it was told to, the same ones."""
    x, y = batch(10)
    here = list(lp.data.DataLoader((x, y), 4, shuffle=True))
    there = list(lp.data.DataLoader((x, y), 4, shuffle=True, device="cuda"))
    for pair, other in zip(here, there, strict=True):
        for array, on_gpu in zip(pair, other, strict=True):
            assert isinstance(on_gpu, cupy.ndarray)
            np.testing.assert_array_equal(on_gpu.get(), array, strict=True)


MIXED = {
    "add": lambda cpu, gpu: lp.Tensor(cpu) + lp.Tensor(gpu),
    "matmul": lambda cpu, gpu: F.matmul(gpu, cpu),
    "where": lambda cpu, gpu: F.where(cpu > 0, lp.Tensor(gpu), lp.Tensor(gpu)),
    "batchnorm": lambda cpu, gpu: F.batch_norm(gpu, gpu[0], gpu[0], cpu[0], cpu[0]),
    "backward": lambda cpu, gpu: lp.Tensor(gpu, requires_grad=True).backward(lp.Tensor(cpu)),
    "linear": lambda cpu, gpu: lp.nn.Linear(3, 2)(gpu),
    "gt": lambda cpu, gpu: lp.Tensor(gpu) > cpu,
    "mseloss": lambda cpu, gpu: F.mse_loss(lp.Tensor(gpu), cpu),
}


@pytest.mark.parametrize("name", MIXED)
def test_mixed_devices_are_refused(cupy, name):
    """One sentence says which operation, where its inputs are, and how to move them."""
    x = np.ones((3, 3), np.float32)
    with pytest.raises(ValueError, match=r"on different devices, .*cuda.* model\.to\(device\)") as caught:
        MIXED[name](x, cupy.asarray(x))
    assert str(caught.value).lower().replace("_", "").startswith(name) and "\n" not in str(caught.value)


def test_python_numbers_have_no_device(cupy):
    """A number or a list goes where the tensor beside it is."""
    x = lp.Tensor(cupy.asarray(np.ones(2, np.float32)))
    assert isinstance((x * 2 + [1, 2]).data, cupy.ndarray)
    assert (x > [0, 1]).get().tolist() == [True, False]


@pytest.mark.parametrize("device, message", [("gpu", "got 'gpu', expected"), (0, "got 0, expected")])
def test_unknown_devices(device, message):
    """Other names than cpu and cuda are refused."""
    for call in (lp.to_device, lambda x, d: lp.Tensor(x).to(d), lambda x, d: lp.nn.Linear(1, 1).to(d)):
        with pytest.raises(ValueError, match=f"device: {message}"):
            call(np.ones(1), device)


def test_an_array_too_large(fake, monkeypatch):
    """The message says for what the GPU has no room, how much was asked for, and what would help."""
    monkeypatch.setattr(standin, "memory", 1000)
    with pytest.raises(MemoryError, match=r"an array of shape \(300,\): Out of memory allocating 1,200 bytes"):
        lp.to_device(np.ones(300, np.float32), "cuda")


def test_an_evaluation_too_large(fake, monkeypatch):
    """The message says so, and what would help."""
    net = model().to("cuda")
    monkeypatch.setattr(standin, "memory", 3000)
    with pytest.raises(MemoryError, match=r"no room for an array of shape \(16, 1, 8, 8\): Out of memory"):
        lp.evaluate(net, [batch()])
    monkeypatch.setattr(standin, "memory", 5000)
    with pytest.raises(MemoryError, match=r"of the evaluation: Out of memory .* smaller batches than 16 samples"):
        lp.evaluate(net, [batch()])


def test_a_batch_too_large(fake, monkeypatch, capsys, tmp_path):
    """In training, the message names the step and the batch; on the command line it is one line."""
    command = ["train", "--epochs", "1", "--quiet", "--device", "cuda", "--out", str(tmp_path / "run")]
    monkeypatch.setattr(standin, "memory", 200_000)
    assert cli.main(command) == 2
    error = capsys.readouterr().err
    assert error.startswith("lpnet: error: the GPU has no room for step 1 of the training: Out of memory allocating ")
    assert "use a smaller batch than 128 samples" in error and error.count("\n") == 1


@pytest.fixture
def broken(monkeypatch):
    """Return a function that puts a CuPy in place whose every array fails with a message, or none at all (None)."""

    def put(message):
        def ones(*_):
            raise RuntimeError(message)

        works = types.SimpleNamespace(ones=ones, float32=np.float32, ndarray=standin.ndarray)
        fake = None if message is None else works
        monkeypatch.setitem(sys.modules, "cupy", fake)
        backend.forget_cuda()

    yield put
    backend.forget_cuda()


LACKING = {
    None: "cupy is not installed: pip install 'lpnet[cuda12]' or 'lpnet[cuda13]'",
    "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version": "update the driver",
    "cudaErrorNoDevice: no CUDA-capable device is detected": "check CUDA_VISIBLE_DEVICES",
    "Out of memory allocating 512 bytes (allocated so far: 0 bytes).": "taken by other processes",
    "Failure finding libcublas.so": "a library of CUDA is missing: pip install",
    "something new": "the GPU does not work (something new)",
}


@pytest.mark.parametrize("message", LACKING)
def test_what_cannot_be_had_is_explained(broken, capsys, message):
    """An explicit "cuda" raises, and the command line says in one line what to install or change."""
    broken(message)
    assert not lp.cuda_available()
    expected = LACKING[message]
    for call in (
        lambda: lp.to_device(np.ones(1), "cuda"),
        lambda: lp.nn.Linear(1, 1).to("cuda"),
        lambda: lp.data.DataLoader(batch(), device="cuda"),
    ):
        with pytest.raises(RuntimeError) as caught:
            call()
        assert str(caught.value).startswith("device cuda cannot be used: ") and expected in str(caught.value)
    for command in (["train"], ["demo"]):
        assert cli.main([*command, "--device", "cuda"]) == 2
        error = capsys.readouterr().err
        assert expected in error and error.count("\n") == 1


def test_an_implicit_device_falls_back(broken):
    """Nobody asked for a GPU: the CPU will do."""
    broken("cudaErrorInsufficientDriver")
    assert backend.choose_device() == "cpu"


def test_an_implicit_device_is_the_gpu_where_it_works(cupy):
    """Where there is a GPU, it is used."""
    assert backend.choose_device() == "cuda"
