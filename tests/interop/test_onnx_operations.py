"""Every operation as an ONNX file: lpnet's numbers in the reference evaluator and ONNX Runtime, or a refusal."""

import numpy as np
import pytest

import lpnet as lp
import lpnet.functions as F

from ..functions.cases import CASES

onnx = pytest.importorskip("onnx", reason="onnx is not installed: its files are not tried")
from onnx.reference import ReferenceEvaluator  # noqa: E402

from lpnet.interop.onnx import export  # noqa: E402

from .test_onnx import Call, assert_same, run  # noqa: E402

REFUSED = {
    "cross_entropy",
    "mse_loss",
    "l1_loss",
    "where",
    "dropout",  # depend on labels, data or chance
    "getitem",
    "split",  # pick
    "log1p",
    "expm1",
    "remainder",
    "floor_divide",  # ONNX has no operator as exact
}
UNLIKE = "adaptive_avg_pool2d-(2,2,5,4)"  # to windows of unlike size
SAID = [case for case in CASES if case.name not in REFUSED and case.call is not F.batch_norm and case.inputs[0].size]
SAID = [case for case in SAID if str(case) != UNLIKE]
# onnx 1.23's evaluator cuts a grouped transposed convolution's weight by outputs, and assigns to a scalar: both raise.
# Its mean over windows that end behind the padding is not ONNX Runtime's, which is lpnet's.
BEYOND_EVALUATOR = ("conv_transpose2d-(1,4,", "conv_transpose2d-(2,3,", "logsumexp-()", "avg_pool2d-(2,4,5)")


@pytest.mark.parametrize("case", [case for case in CASES if case.name in REFUSED], ids=str)
def test_operations_without_a_counterpart_are_refused(tmp_path, case):
    """One sentence, and no file."""
    x, *rest = (a.astype(np.float32) for a in case.inputs)
    with pytest.raises(ValueError, match="has no counterpart in ONNX"):
        export(Call(case.call, *rest), tmp_path / "m.onnx", x.shape)
    assert not list(tmp_path.iterdir())


def exported(case, path):
    """Export a case; return its input and lpnet's result."""
    x, *rest = (a.astype(np.float32) for a in case.inputs)
    model = Call(case.call, *rest)
    export(model, path, x.shape)
    onnx.checker.check_model(str(path), full_check=True)
    return x, model(lp.Tensor(x)).numpy()


def assert_near(y, expected):
    """Compare up to the order of sums and the last bits of exp."""
    assert np.shape(y) == expected.shape
    np.testing.assert_allclose(y, expected, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("case", [case for case in SAID if not str(case).startswith(BEYOND_EVALUATOR)], ids=str)
def test_every_operation(tmp_path, case):
    """Every case of the table of operations gives lpnet's numbers in onnx's reference evaluator."""
    x, expected = exported(case, tmp_path / "m.onnx")
    assert_near(ReferenceEvaluator(str(tmp_path / "m.onnx")).run(None, {"input": x})[0], expected)


MOVING = {
    "relu",
    "max",
    "min",
    "maximum",
    "minimum",
    "max_pool2d",
    "reshape",
    "transpose",
    "broadcast_to",
    "concatenate",
    "stack",
    "pad",
    "squeeze",
    "expand_dims",
    "identity",
    "embedding",
}


@pytest.mark.parametrize("case", [case for case in SAID if case.name in MOVING], ids=str)
def test_the_file_rounds_what_lpnet_rounds(tmp_path, case):
    """Of operations without arithmetic those that round do so in the file, others do not, to the bit."""
    x, *rest = (a.astype(np.float32) for a in case.inputs)
    model = Call(lp.use(lp.Precision(activation=lp.Quantizer("fixed4.1", "nearest")))(case.call), *rest)
    assert_same(np.asarray(run(model, tmp_path / "m.onnx", x)), model(lp.Tensor(x)).numpy())


@pytest.mark.parametrize("name", sorted({case.name for case in SAID}))
def test_every_operation_in_onnx_runtime(tmp_path, name):
    """Every case gives lpnet's numbers in ONNX Runtime, which is what the files are for."""
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: its results are not tried")
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # it warns of parameters that no node takes
    for case in (case for case in SAID if case.name == name):
        x, expected = exported(case, tmp_path / "m.onnx")
        session = runtime.InferenceSession(str(tmp_path / "m.onnx"), options)
        assert_near(session.run(None, {"input": np.asarray(x)})[0], expected)


@pytest.mark.parametrize("size", [(2, 3), (3, 2), 1, (None, 2)])
def test_adaptive_means_are_written_where_windows_are_alike(tmp_path, size):
    """Where the size divides the images; others are refused with a sentence and no file."""
    x = np.random.default_rng(0).standard_normal((2, 2, 6, 4)).astype(np.float32)
    model = lp.nn.AdaptiveAvgPool2d(size)
    if size == (2, 3):
        with pytest.raises(ValueError, match=r"ONNX pools images of \(6, 4\) to whole parts of them only, not to"):
            export(model, tmp_path / "m.onnx", x.shape)
        assert not list(tmp_path.iterdir())
    else:
        assert_near(np.asarray(run(model, tmp_path / "m.onnx", x)), model(lp.Tensor(x)).numpy())


@pytest.mark.parametrize("batch", [2, None])
def test_rows_of_an_embedding_are_those_that_the_input_names(tmp_path, batch):
    """Indices are the model's input, rounded weights are its parameter: any others give their rows, to the bit."""
    model = lp.nn.Sequential(lp.nn.Embedding(7, 3, padding_idx=0), lp.nn.ReLU())
    x = np.array([[0, 6, 2], [3, 3, 1]], np.float32)
    y = run(model, tmp_path / "m.onnx", x, (batch, 3))
    assert_same(np.asarray(y), model(lp.Tensor(x)).numpy())


def test_statistics_of_a_batch_are_refused(tmp_path):
    """They would be other ones for other inputs; in evaluation the layers give the running ones."""
    model = Call(F.batch_norm, *np.ones((2, 3), np.float32))
    with pytest.raises(ValueError, match="BatchNorm takes its statistics from the batch"):
        export(model, tmp_path / "m.onnx", (4, 3))
