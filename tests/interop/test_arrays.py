"""Arrays of other libraries: rounded as NumPy's are, read where they lie, and given back as what they were."""

import types

import numpy as np
import pytest

import lpnet as lp

X = np.random.default_rng(0).standard_normal((5, 7)).astype(np.float32)
LIBRARIES = ("jax.numpy", "array_api_strict", "torch")


class Offered:
    """An array that offers DLPack and the array API, and nothing else; it knows who took a view."""

    def __init__(self, array):
        self.array, self.taken = array, []

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()

    def __dlpack__(self, **options):
        self.taken.append(options)
        return self.array.__dlpack__(**options)

    def __array_namespace__(self):
        return types.SimpleNamespace(from_dlpack=lambda array: Offered(np.from_dlpack(array)))


def array_of(library, x):
    """Return x as an array of the library; skips where that is missing."""
    module = pytest.importorskip(library, reason=f"{library} is not installed: its arrays are not tried")
    return module.asarray(np.array(x))


@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
@pytest.mark.parametrize("fmt", ["bfp8", "e4m3", "fixed8.6", "mxfp4_e2m1"])
def test_the_kind_comes_back_with_numpys_bits(fmt, rounding):
    """The result is of x's kind and has the bits that NumPy's array gets from the same stream."""
    y = lp.quantize(Offered(X), fmt, rounding, lp.random.Stream(3))
    assert type(y) is Offered
    assert y.array.tobytes() == lp.quantize(X, fmt, rounding, lp.random.Stream(3)).tobytes()


def test_a_quantizer_takes_them_too():
    """A Quantizer is the same door."""
    y = lp.Quantizer("bfp8", "nearest")(Offered(X))
    assert type(y) is Offered and y.array.tobytes() == lp.quantize(X, "bfp8").tobytes()


def test_a_format_of_ones_own_gets_a_view_of_the_memory():
    """No copy of the input is made, and the input is left as it was."""
    seen = []

    class Own(lp.Format):
        def quantize(self, x, rounding="nearest", stream=None):
            seen.append(x)
            return x + 1

    x = X.copy()
    lp.quantize(Offered(x), Own())
    assert seen[0].ctypes.data == x.ctypes.data
    assert x.tobytes() == X.tobytes()


def test_a_tensor_is_neither_copied_on_the_way_in_nor_out():
    """PyTorch's tensor and the result share memory with the arrays that are rounded and that come of it."""
    torch, seen = pytest.importorskip("torch", reason="PyTorch is not installed: its memory is not looked at"), []

    class Own(lp.Format):
        def quantize(self, x, rounding="nearest", stream=None):
            seen.extend([x, x + 1])
            return seen[1]

    x = torch.zeros(1000)
    y = lp.quantize(x, Own())
    assert [x.data_ptr(), y.data_ptr()] == [array.ctypes.data for array in seen]


def test_another_device_is_refused_with_the_reason():
    """An array on a GPU goes by way of CuPy; where there is none the error says so."""
    if lp.cuda_available():
        pytest.skip("there is a GPU")
    far = type("Far", (Offered,), {"__dlpack_device__": lambda self: (2, 0)})(X)
    with pytest.raises(TypeError, match=r"gives no view of its memory \(.*(?i:cuda|cupy|gpu)"):
        lp.quantize(far, "bfp8")


def test_numpy_arrays_pass_as_they_are():
    """NumPy's arrays offer DLPack as well and do not take that way: a subclass still gives an array."""
    assert type(lp.quantize(X, "bfp8")) is np.ndarray


def test_other_numbers_are_refused_in_a_sentence():
    """An array of another dtype says which it has, which are taken and what would do."""
    with pytest.raises(TypeError, match="float32 or float64, got int64"):
        lp.quantize(Offered(np.arange(3)), "bfp8")


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_libraries(library, dtype):
    """What the stand-in shows holds for the libraries themselves."""
    x = array_of(library, X.astype(dtype))
    dtype = np.asarray(x).dtype  # JAX has float32 only unless it is told otherwise
    y = lp.quantize(x, "bfp8")
    assert type(y) is type(x) and y.dtype == x.dtype
    assert np.asarray(y).tobytes() == lp.quantize(X.astype(dtype), "bfp8").tobytes()
    assert np.asarray(x).tobytes() == X.astype(dtype).tobytes()


@pytest.mark.parametrize("library", ["jax.numpy", "torch"])
def test_bfloat16_is_refused_in_a_sentence(library):
    """NumPy has no bfloat16: the error says what to do instead of what DLPack says."""
    x = array_of(library, X)
    x = x.bfloat16() if library == "torch" else x.astype("bfloat16")
    with pytest.raises(TypeError, match=r"bfp8: x must be float32 or float64, got .*bfloat16; convert it"):
        lp.quantize(x, "bfp8")


def test_a_tensor_that_requires_a_gradient_is_not_cut_off_in_silence():
    """Its gradient would be lost: the error names the function that passes it on."""
    x = array_of("torch", X).requires_grad_()
    with pytest.raises(TypeError, match=r"lpnet\.interop\.torch\.quantize passes on; or give x\.detach\(\)"):
        lp.quantize(x, "bfp8")
    assert lp.quantize(x.detach(), "bfp8").requires_grad is False
