"""Models as safetensors files: what comes back, what lies there, what is refused."""

import json

import numpy as np
import pytest

import lpnet as lp

safetensors = pytest.importorskip("safetensors", reason="safetensors is not installed: such files are not tried")
from safetensors import numpy as library  # noqa: E402

from lpnet.interop.safetensors import load, save  # noqa: E402


def small(fmt=None):
    """Return a small network, its weights rounded to a format."""
    model = lp.models.small_cnn(3, 1, 8, 4)
    if fmt is not None:
        lp.optim.SGD(model.parameters(), lr=0.1, precision=lp.Precision(weight=lp.Quantizer(fmt, "nearest")))
    return model


def metadata(file):
    with safetensors.safe_open(file, framework="numpy") as opened:
        return opened.metadata()


def test_a_model_comes_back_to_the_bit(tmp_path):
    """What was saved loads into another model of its kind, bit for bit; the names are those of its state."""
    model, other = small(), small()
    save(tmp_path / "m.safetensors", model)
    assert set(library.load_file(tmp_path / "m.safetensors")) == set(model.state_dict())
    other.load_state_dict(load(tmp_path / "m.safetensors"))
    for name, array in model.state_dict().items():
        assert other.state_dict()[name].tobytes() == array.tobytes(), name


FORMATS = ["bfp8", "e4m3", "fixed8.6", "mxfp4_e2m1", "mxint8", "nvfp4", "e3m2", "bf16"]


@pytest.mark.parametrize("fmt", FORMATS)
def test_packed_arrays_are_codes_and_load_as_they_were(tmp_path, fmt):
    """Codes and scales lie there as uint8, as `encode` gives them; the array comes back to the bit."""
    weights = lp.quantize(np.random.default_rng(0).standard_normal((6, 40)).astype(np.float32), fmt)
    encoded = lp.format(fmt).encode(weights)
    if encoded.decode().tobytes() != weights.tobytes():
        pytest.skip(f"{fmt} moves numbers that it has rounded: they are not packed")
    save(tmp_path / "w", {"layer.weight": weights}, packed=fmt)
    lying = library.load_file(tmp_path / "w")
    assert lying["layer.weight.codes"].tobytes() == encoded.codes.tobytes()
    assert lying.get("layer.weight.scales", np.empty(0, np.uint8)).tobytes() == encoded.scales.tobytes()
    assert all(array.dtype == np.uint8 for array in lying.values())
    about = json.loads(metadata(tmp_path / "w")["lpnet"])["packed"]["layer.weight"]
    assert about["format"] == fmt and about["shape"] == [6, 40] and about["dtype"] == "float32"
    assert load(tmp_path / "w")["layer.weight"].tobytes() == weights.tobytes()
    assert list(load(tmp_path / "w")) == ["layer.weight"]


def test_a_packed_model_is_a_quarter_as_large(tmp_path):
    """Weights of 8 bits take a byte each; what is on no grid, such as running statistics, stays in float."""
    model = lp.models.mlp(64, 10, (64,))
    lp.optim.SGD(model.parameters(), lr=0.1, precision="bfp8")
    save(tmp_path / "packed", model, packed="bfp8")
    save(tmp_path / "plain", model)
    assert (tmp_path / "packed").stat().st_size < 0.4 * (tmp_path / "plain").stat().st_size
    for name, array in load(tmp_path / "packed").items():
        assert array.tobytes() == model.state_dict()[name].tobytes()


def test_the_documented_layout_is_enough_to_read_codes(tmp_path):
    """The recipe of docs/guides/files.md, by hand: bits from the lowest up, a scale 2^(code - 128) a row."""
    w = lp.quantize(np.random.default_rng(1).standard_normal((4, 9)).astype(np.float32), "bfp6")
    save(tmp_path / "w", {"w": w}, packed="bfp6")
    lying = library.load_file(tmp_path / "w")
    bits = [byte >> i & 1 for byte in lying["w.codes"].tolist() for i in range(8)]
    codes = [sum(bits[6 * n + i] << i for i in range(6)) for n in range(36)]
    scales = [2.0 ** (code - 128) for code in lying["w.scales"].tolist()]
    numbers = [(code - 64 * (code >> 5)) * 2.0**-4 * scales[n // 9] for n, code in enumerate(codes)]
    np.testing.assert_array_equal(np.reshape(numbers, (4, 9)), w)


@pytest.mark.parametrize("array", [np.float64([[1, 2]]), np.float16([3]), np.int64(7), np.arange(6).reshape(2, 3).T])
def test_other_arrays(tmp_path, array):
    """Numbers of any width and arrays of no axes or none in order come back as they were."""
    save(tmp_path / "a", {"x": array})
    back = load(tmp_path / "a")["x"]
    assert back.dtype == array.dtype and back.shape == array.shape and (back == array).all()


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("bfloat16", [1.5, -(2.0**-130), np.inf]),
        ("float8_e4m3fn", [448, -(2.0**-9), 0]),
        ("float8_e5m2", [57344, -0.0, 3]),
    ],
)
def test_numbers_that_numpy_does_not_have(tmp_path, kind, values):
    """bfloat16 and 8-bit floats become float32, exactly; ml_dtypes is the witness."""
    ml_dtypes = pytest.importorskip("ml_dtypes")
    array = np.array(values).astype(getattr(ml_dtypes, kind))
    spec = safetensors.TensorSpec(dtype=kind, shape=array.shape, data_ptr=array.ctypes.data, data_len=array.nbytes)
    (tmp_path / "a").write_bytes(bytes(safetensors.serialize({"x": spec}, metadata=None)))
    back = load(tmp_path / "a")["x"]
    assert back.dtype == np.float32 and back.tobytes() == array.astype(np.float32).tobytes()


def test_what_cannot_be_saved_leaves_the_disk_alone(tmp_path):
    """One sentence, and no file."""
    for state, error, sentence in (
        ({"x": "text"}, TypeError, "save: x must be an array of real numbers, got str"),
        ({"x": np.complex64(1j)}, TypeError, "save: x must be an array of real numbers"),
        ({"x": np.ones((4, 64), np.float32), "x.codes": np.array([0.3])}, ValueError, "two tensors 'x.codes'"),
    ):
        with pytest.raises(error, match=sentence):
            save(tmp_path / "f", state, packed="bfp8")
    with pytest.raises(ValueError, match="unknown format"):
        save(tmp_path / "f", small(), packed="bfq8")
    assert not list(tmp_path.iterdir())


def test_damaged_files_are_refused_by_name(tmp_path):
    """A cut file, one of zeros, one whose codes were changed: a sentence with the file's name, or the honest arrays."""
    file = tmp_path / "f"
    honest = {"w": lp.quantize(np.random.default_rng(0).standard_normal((8, 64)).astype(np.float32), "bfp8")}
    save(file, honest, packed="bfp8")
    content = file.read_bytes()
    cut = [b"", content[:5], content[:100], content[:-1]]
    changed = [bytes(200), content[:-9] + b"\1" * 9, content.replace(b"bfp8", b"bfp9")]
    for damaged in (*cut, *changed, content.replace(b'version\\": 1', b'version\\": 7')):
        assert damaged != content
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"f: .*"):
            load(file)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nothing")


def test_torch_reads_and_writes_the_same_files(tmp_path):
    """A file of ours is a state_dict of the same network in PyTorch, strictly; and the other way round."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: its files are not tried")
    from safetensors.torch import load_file, save_model

    nn, ours = torch.nn, small()
    theirs = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(128, 3),
    )
    save(tmp_path / "ours", ours)
    theirs.load_state_dict(load_file(tmp_path / "ours"))
    x = np.random.default_rng(0).standard_normal((5, 1, 8, 8)).astype(np.float32)
    theirs(torch.from_numpy(x))  # moves the running statistics
    theirs.eval()
    save_model(theirs, str(tmp_path / "theirs"))
    ours.load_state_dict(load(tmp_path / "theirs"))
    np.testing.assert_allclose(ours.eval()(x).numpy(), theirs(torch.from_numpy(x)).detach().numpy(), atol=1e-6)


def test_a_pickle_is_told_of(tmp_path):
    """With what to write in its place."""
    (tmp_path / "m.pt").write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(ValueError, match=r"m\.pt: a pickle, as torch\.save makes"):
        load(tmp_path / "m.pt")
