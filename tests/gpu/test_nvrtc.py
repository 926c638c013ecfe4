"""Every kernel compiles for every GPU from Turing to Blackwell, on machines that have none."""

from importlib import resources

import pytest

from lpnet.kernels.cuda.launch import launch, options, source

from ..loud import skip_loudly
from . import nvrtc

FILES = sorted(f.name for f in resources.files("lpnet.kernels.cuda").iterdir() if f.name.endswith(".cu"))
ARCHITECTURES = ("sm_75", "sm_90", "sm_100")  # the oldest, the H100 and the newest


@pytest.fixture(autouse=True)
def _compiler():
    if nvrtc.library() is None:
        skip_loudly("NVRTC is missing (pip install 'nvidia-cuda-nvrtc==13.0.*'): no kernel was compiled for a GPU")


def test_there_are_kernels():
    """The package ships kernels."""
    assert len(FILES) >= 1


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("file", FILES)
def test_kernels_compile_without_a_warning(file, architecture):
    """In float32 and float64; the result is a binary for that GPU."""
    for double in (False, True):
        code = nvrtc.compiled(source(file), [*options(double), f"-arch={architecture}"])
        assert code.startswith(b"\x7fELF")


def test_arguments_go_by_the_names_of_the_text():
    """A missing, an unknown or a misspelt one is refused before anything runs."""
    with pytest.raises(TypeError, match=r"kernel affine takes a, scale, b, .* missing or unknown: b, slope, x"):
        launch("norm.cu", "affine", 1, "f4", a=0, scale=0, shift=0, y=0, n=1, channels=1, size=1, x=0)


def test_what_is_wrong_is_said():
    """A source that is wrong fails with the compiler's own words, so the tests above can fail."""
    with pytest.raises(RuntimeError, match=r"identifier .nothing. is undefined"):
        nvrtc.compiled('extern "C" __global__ void k(float* x) { x[0] = nothing; }', ["-arch=sm_90"])
