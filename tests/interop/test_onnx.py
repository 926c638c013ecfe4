"""ONNX files against onnx's reference evaluator: what the model computes in evaluation, to the bit."""

import numpy as np
import pytest

import lpnet as lp
import lpnet.functions as F
from lpnet import nn

onnx = pytest.importorskip("onnx", reason="onnx is not installed: its files are not tried")
from onnx.reference import ReferenceEvaluator  # noqa: E402

from lpnet.interop.onnx import export  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")  # onnx casts to fp16 so


def run(model, path, x, input_shape=None, **options):
    """Export a model, have onnx check the file and run it on x; return the result."""
    export(model, path, x.shape if input_shape is None else input_shape, **options)
    onnx.checker.check_model(str(path), full_check=True)
    return ReferenceEvaluator(str(path)).run(None, {"input": x})[0]


def assert_same(y, expected):
    """Compare bit for bit."""
    assert y.dtype == expected.dtype == np.float32 and y.shape == expected.shape
    np.testing.assert_array_equal(y.view(np.uint32), expected.view(np.uint32))


class Call(nn.Module):
    """A function of the input and of parameters."""

    def __init__(self, function, *parameters):
        self.function, self.parameters_ = function, [lp.Parameter(p) for p in parameters]

    def forward(self, x):
        return self.function(x, *self.parameters_)


def rounding_to(fmt, rounding="nearest"):
    """Return a model that rounds its input."""
    model = Call(F.identity)
    model.precision = lp.Precision(activation=lp.Quantizer(fmt, rounding))
    return model


SINGLE = [
    "fixed8.6",
    "fixed4.2",
    "fixed6.3",
    "fixed2.1",
    "fixed8.-2",
    "fixed12.12",
    "fixed16.8",
    "e4m3",
    "e5m2",
    "e2m1",
    "e3m2",
    "e2m3",
    "fp16",
    "bf16",
    "fp32",
    "FixedPoint(8, 6, symmetric=True)",
    "FloatingPoint(4, 3, specials='nan', saturate=False)",
    "FloatingPoint(5, 2, saturate=False)",
    "FloatingPoint(5, 10, saturate=True)",
]
BLOCKS = [
    "bfp8",
    "bfp4",
    "bfp2",
    "bfp12",
    "bfp16",
    "bfp8:tensor",
    "bfp8:16",
    "bfp6:3",
    "BlockFloatingPoint(8, axis=1)",
    "BlockFloatingPoint(4, axis=1, block=2)",
    "BlockFloatingPoint(8, symmetric=False)",
    "mxfp8_e4m3",
    "mxfp8_e5m2",
    "mxfp6_e3m2",
    "mxfp6_e2m3",
    "mxfp4_e2m1",
    "mxint8",
    "nvfp4",
    "BlockScaled(FloatingPoint(2, 1, specials='none'), FloatingPoint(4, 3, specials='nan'), 16)",
]
SHAPES = [(4, 3, 5, 40), (7, 33), (3, 16), (1, 5), (2, 64, 3, 3)]


def numbers(shape, seed=0):
    """Return numbers over many binades, zeros of both signs, ties, a block of zeros and two large ones."""
    rng = np.random.default_rng([seed, *shape])
    x = (rng.standard_normal(shape) * np.exp2(rng.integers(-12, 8, shape))).astype(np.float32)
    x = np.where(rng.random(shape) < 0.3, np.float32(2.0**-3) * np.rint(x * 8), x)
    x[0] = 0
    x.flat[-3:] = [-0.0, 1000, -70000]
    return x.astype(np.float32)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("fmt", [*SINGLE, *BLOCKS])
def test_rounding_is_lpnets_to_the_bit(tmp_path, fmt, shape):
    """QuantizeLinear and DequantizeLinear, with scales computed from the input for blocks, give lpnet's bits."""
    x = numbers(shape)
    assert_same(run(rounding_to(fmt), tmp_path / "m.onnx", x), lp.quantize(x, fmt))


@pytest.mark.parametrize("fmt", ["fixed8.6", "bfp8", "bfp8:tensor", "bfp8:16", "mxfp4_e2m1", "nvfp4"])
def test_any_batch(tmp_path, fmt):
    """With None as N the file takes batches of any length, also where the first axis has scales or is reshaped."""
    model = nn.Sequential(rounding_to(fmt), nn.Flatten(), nn.Linear(50, 4, bias=False))
    model[2].weight.data = np.eye(4, 50, 3, dtype=np.float32)  # picks four: no sum is rounded
    for n in (1, 2, 5):
        x = numbers((n, 2, 25), seed=n)
        assert_same(run(model, tmp_path / "m.onnx", x, (None, 2, 25)), model(lp.Tensor(x)).numpy())


KEPT = {  # functions that any batch goes through
    "the batch kept": lambda x: F.reshape(x, (x.shape[0], 6)),
    "-1 for it": lambda x: F.reshape(x, (-1, 3)),
    "all axes": lambda x: F.reshape(x, -1),
    "another tensor with as many rows": lambda x: x + F.reshape(np.ones((2, 3), np.float32), (1, 2, 3)),
    "broadcast along others": lambda x: F.broadcast_to(F.reshape(x, (x.shape[0], 1, 2, 3)), (x.shape[0], 4, 2, 3)),
}


@pytest.mark.parametrize("name", KEPT)
def test_shapes_of_any_batch(tmp_path, name):
    """A shape that was written for the batch that was traced is right for every other."""
    model = Call(KEPT[name])
    for n in (1, 2, 5):
        x = numbers((n, 2, 3), seed=n)
        assert_same(run(model, tmp_path / "m.onnx", x, (None, 2, 3)), model(lp.Tensor(x)).numpy())


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (lambda x: F.reshape(x, (x.shape[0] * 2, 3)), "mixes the batch with other axes: write -1"),
        (lambda x: x + F.broadcast_to(F.mean(x, 0, keepdims=True), x.shape), "knows the batch's length"),
    ],
)
def test_what_knows_the_batch_is_refused(tmp_path, function, sentence):
    """It would be wrong for any other; with N given it is fine."""
    with pytest.raises(ValueError, match=sentence):
        export(Call(function), tmp_path / "m.onnx", (None, 2, 3))
    export(Call(function), tmp_path / "m.onnx", (4, 2, 3))


@pytest.mark.parametrize(
    ("fmt", "sentence"),
    [
        ("tf32", "tf32 has no type in ONNX; those that have are"),
        ("e6m9", "e6m9 has no type in ONNX"),
        ("fixed17.3", "has no type in ONNX"),
        ("FixedPoint(8, 6, saturate=False)", "has no type in ONNX"),
        ("bfp17", "has no type in ONNX"),
        ("BlockFloatingPoint(8, exp=5)", "has scales that ONNX has no form for"),
        ("nvfp4:16x16", "has blocks of two dimensions"),
        ("mxfp8_e4m3:ceil", "or a rule of scales"),
        (lp.Table((-1.0, 0.0, 1.0), "ternary"), "has no type in ONNX"),
    ],
)
def test_formats_without_a_type_are_refused(tmp_path, fmt, sentence):
    """One sentence, for activations and for what is stored, and no file."""
    for model, packed in ((rounding_to(fmt), None), (nn.Linear(3, 2), fmt)):
        if isinstance(packed, lp.Table):
            continue  # not registered: refused before
        with pytest.raises(ValueError, match=sentence):
            export(model, tmp_path / "m.onnx", (2, 3), packed=packed)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (
            rounding_to("bfp8", "stochastic"),
            r"rounded by Quantizer\('bfp8', 'stochastic'\), and ONNX rounds to nearest",
        ),
        (Call(lambda x: F.where(x.data > 0, x, 1.0)), "Where has no counterpart"),
        (Call(lambda x: F.dropout(x, 0.5)), "Dropout has no counterpart"),
        (nn.Linear(3, 2).astype(np.float64), "'weight' is not float32"),
    ],
)
def test_what_onnx_cannot_say_is_refused(tmp_path, model, sentence):
    """One sentence, and no file."""
    with pytest.raises(ValueError, match=sentence):
        export(model, tmp_path / "m.onnx", (2, 3))
    assert not list(tmp_path.iterdir())


def test_tiles_over_an_open_batch_are_refused(tmp_path):
    """Where blocks cut the batch its length must be known."""
    with pytest.raises(ValueError, match="cuts the batch into tiles"):
        export(rounding_to("BlockFloatingPoint(8, axis=0, block=2)"), tmp_path / "m.onnx", (None, 3))


def dyadic(model, seed=0):
    """Give a model weights -1, -1/2, 0, 1/2, 1, and biases of quarters: sums of numbers on a grid are then exact."""
    rng = np.random.default_rng(seed)
    for name, p in model.named_parameters():
        step, most = (0.25, 4) if name.endswith("bias") else (0.5, 2)
        p.data = (rng.integers(-most, most + 1, p.shape) * step).astype(np.float32)
    return model


def small(classes=5):
    return dyadic(
        nn.Sequential(
            nn.Conv2d(2, 8, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 8, 3),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(32, classes),
        )
    )


EXACT = [fmt for fmt in (*SINGLE, *BLOCKS) if fmt not in ("fixed2.1", "nvfp4") and "BlockScaled" not in fmt]


@pytest.mark.parametrize("fmt", EXACT)
def test_a_network_with_rounded_activations_to_the_bit(tmp_path, fmt):
    """All sums are exact on eighths and weights of halves (not with the scales of nvfp4), so every bit must agree."""
    model = small()
    lp.nn.lower(model, lp.Precision.uniform(fmt, "nearest"), layers=(nn.Conv2d, nn.Activation, nn.Linear))
    x = (np.random.default_rng(1).integers(-16, 17, (3, 2, 12, 12)) / 8).astype(np.float32)
    expected = model.eval()(lp.Tensor(x)).numpy()
    assert_same(run(model, tmp_path / "m.onnx", x), expected)
    assert len(np.unique(expected)) > 2  # something is left of it


def test_a_residual_network_with_batch_norm_to_the_bit(tmp_path):
    """PreResNet-20 in 8-bit fixed point: additions, BatchNorm and the mean over the image among it."""
    model = dyadic(lp.models.preresnet20())
    rng = np.random.default_rng(0)
    for name, buffer in model.named_buffers():
        low = 0.5 if name.endswith("var") else -1.0
        buffer.data = rng.uniform(low, 1.0, buffer.shape).astype(np.float32) * 8
    lp.nn.lower(model, lp.Precision.uniform("fixed8.2", "nearest"))
    x = (rng.integers(-16, 17, (2, 3, 8, 8)) / 8).astype(np.float32)
    assert_same(run(model, tmp_path / "m.onnx", x), model.eval()(lp.Tensor(x)).numpy())


@pytest.mark.parametrize("fmt", [*SINGLE, *BLOCKS])
def test_stored_weights_come_out_to_the_bit(tmp_path, fmt):
    """A parameter stored in codes is the parameter; multiplied with ones it keeps its zeros' signs."""
    for shape in ((6, 40), (4, 3, 3, 3), (1, 5)):
        w = lp.quantize(np.clip(numbers(shape), -400, 400), fmt)
        model = Call(F.mul, w)
        x = np.ones(shape, np.float32)
        assert_same(run(model, tmp_path / "m.onnx", x, packed=fmt), w)


@pytest.mark.parametrize(
    ("fmt", "kind", "share"),
    [
        ("fixed4.2", "INT4", 1 / 8),
        ("bfp8", "INT8", 1 / 4),
        ("bfp4", "INT4", 1 / 8),
        ("e4m3", "FLOAT8E4M3FN", 1 / 4),
        ("mxfp4_e2m1", "FLOAT4E2M1", 4.25 / 32),
        ("mxfp6_e3m2", "FLOAT6E3M2", 6.25 / 32),
        ("mxint8", "INT8", 8.25 / 32),
    ],
)
def test_stored_weights_take_the_room_of_their_codes(tmp_path, fmt, kind, share):
    """The tensor is there in its type, and the file is smaller by what the format saves."""
    model = Call(F.mul, lp.quantize(np.random.default_rng(0).standard_normal((64, 512)).astype(np.float32), fmt))
    for name, packed in (("packed", fmt), ("plain", None)):
        export(model, tmp_path / name, (64, 512), packed=packed)
    kinds = {onnx.TensorProto.DataType.Name(t.data_type) for t in onnx.load(tmp_path / "packed").graph.initializer}
    assert kind in kinds
    packed, plain = ((tmp_path / name).stat().st_size for name in ("packed", "plain"))
    assert packed < 1.05 * share * plain + 2000


def test_names_modes_and_streams(tmp_path):
    """Parameters keep their names, the model its modes; nothing is drawn."""
    model = lp.models.small_cnn(3, 1, 8)
    model.train()
    before = lp.random.default.state_dict()
    export(model, tmp_path / "m.onnx", (1, 1, 8, 8))
    assert all(module.training for module in model.modules())
    assert lp.random.default.state_dict() == before
    names = {t.name for t in onnx.load(tmp_path / "m.onnx").graph.initializer}
    assert {"0.weight", "4.weight", "8.weight", "8.bias"} <= names


def test_the_opset_is_the_first_that_has_the_types(tmp_path):
    """A file asks no more of who reads it than its formats do."""
    for fmt, opset in (("fixed8.6", 21), ("e4m3", 21), ("e2m1", 23), ("bfp8", 24), ("mxfp6_e3m2", 28)):
        export(rounding_to(fmt), tmp_path / "m.onnx", (2, 3))
        assert onnx.load(tmp_path / "m.onnx").opset_import[0].version == opset
