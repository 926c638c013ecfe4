"""Products go to tensor cores only where they lose nothing, with arguments that mean what they should."""

import gc

import numpy as np
import pytest

import lpnet as lp
from lpnet import functions as F
from lpnet import optim
from lpnet.kernels.cuda import cublas
from lpnet.kernels.cuda import digits as notes
from lpnet.kernels.cuda.digits import known_digits, note_digits
from lpnet.kernels.cuda.rounding import significant
from lpnet.kernels.cuda.tensorcores import matmul

from . import blas

SHAPES = [(5, 7, 3), (1, 4, 6), (6, 1, 2), (3, 5, 1), (16, 30, 8)]


def integers(*shape, seed=0):
    """Return integers of 8 bits, as float32."""
    return np.random.default_rng(seed).integers(-127, 128, shape).astype(np.float32)


@pytest.mark.parametrize("b_turned", [False, True])
@pytest.mark.parametrize("a_turned", [False, True])
@pytest.mark.parametrize("stacks", [(), (4, 4), (1, 4), (4, 1)])
@pytest.mark.parametrize("m, k, n", SHAPES)
def test_products_are_exact(fake, m, k, n, stacks, a_turned, b_turned):
    """Row-major, transposed, stacked or shared operands: the product of integers is exact, and cuBLAS's."""
    a = integers(*stacks[:1], *((k, m) if a_turned else (m, k)))
    b = integers(*stacks[1:], *((n, k) if b_turned else (k, n)), seed=1)
    ours = [note_digits(fake.asarray(x), 7) for x in (a, b)]
    ours = [x.swapaxes(-1, -2) if turned else x for x, turned in zip(ours, (a_turned, b_turned), strict=True)]
    theirs = [x.swapaxes(-1, -2) if turned else x for x, turned in zip((a, b), (a_turned, b_turned), strict=True)]
    with fake.no_waiting():
        got = matmul(*ours)
    np.testing.assert_array_equal(got.get(), theirs[0] @ theirs[1], strict=True)
    assert blas.calls == [f"TF32 {max(stacks)}" if stacks else "TF32"]


def test_operands_that_lie_otherwise_are_copied(fake):
    """A strided operand is no matrix to cuBLAS as it lies."""
    a, b = integers(6, 8), integers(8, 4, seed=1)
    ours = [note_digits(fake.asarray(x), 7) for x in (a, b)]
    np.testing.assert_array_equal(matmul(ours[0][::2, ::2], ours[1][:4, :3]).get(), a[::2, ::2] @ b[:4, :3])
    assert blas.calls == ["TF32"]


def test_what_would_lose_digits_is_multiplied_in_full(fake):
    """Unknown operands, more than 11 digits, and float64 stay away from TF32; the emulation would show it."""
    x = np.random.default_rng(0).standard_normal((9, 9)).astype(np.float32)
    for a, b in ((None, None), (7, None), (None, 11), (12, 7)):
        ours = [note_digits(fake.asarray(x), digits) for digits in (a, b)]
        np.testing.assert_array_equal(matmul(*ours).get(), x @ x)
    wide = note_digits(fake.asarray(x.astype(np.float64)), 3)
    assert matmul(wide, wide).dtype == np.float64 and set(blas.calls) == {"float32"}
    noted = note_digits(fake.asarray(x), 11)  # a lie, by which the emulation is seen to work
    assert (matmul(noted, noted).get() != x @ x).any() and blas.calls[-1] == "TF32"


def test_without_the_library_products_are_cupys(fake, monkeypatch):
    """Where cuBLAS is not found under its name, nothing breaks."""

    def missing():
        raise OSError("libcublas.so.13: cannot open shared object file")

    monkeypatch.setattr(cublas, "CuBLAS", missing)
    x = note_digits(fake.asarray(integers(4, 4)), 7)
    np.testing.assert_array_equal(matmul(x, x).get(), integers(4, 4) @ integers(4, 4))
    assert not blas.calls


@pytest.mark.parametrize(
    "name, digits",
    [
        ("bfp8", 7),
        ("fixed8.6", 7),
        ("e4m3", 4),
        ("tf32", 11),
        ("bf16", 8),
        ("mxfp4_e2m1", 2),
        ("mxint8", 7),
        ("nvfp4", None),
        ("FixedPoint(8, 4, saturate=False)", None),
        ("fp32", 24),
    ],
)
def test_rounded_arrays_know_their_digits(fake, name, digits):
    """What is noted of a format holds for its numbers: that many bits of the mantissa are enough."""
    x = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    y = lp.quantize(fake.asarray(x), name, "nearest")
    assert known_digits(y) == significant(lp.format(name)) == digits
    if digits is not None:
        used = y.get().view(np.uint32) & np.uint32(0x7FFFFF)
        assert not (used & np.uint32(2 ** (24 - digits) - 1)).any()


def test_views_and_selections_know_and_new_numbers_do_not(fake):
    """Views, relu and concatenations keep what is known; sums, losses and other arrays do not; memory is not leaked."""
    x = lp.Tensor(lp.quantize(fake.asarray(integers(4, 4) / 8), "bfp8"))
    kept = (
        x.T,
        x[1:],
        x.reshape(2, 8),
        F.relu(x),
        F.concatenate([x, x]),
        F.maximum(x, x),
        x[[0, 2]],
        F.max_pool2d(x.reshape(1, 1, 4, 4), 2),
    )
    assert [known_digits(y.data) for y in kept] == [7] * len(kept)
    for lost in (x + x, F.exp(x), F.pad(x, 1, 0.1), F.mse_loss(x, x * 0), F.cross_entropy(x, np.arange(4)), x.mean()):
        assert known_digits(lost.data) is None
    before = len(notes._known)
    del x, kept
    gc.collect()
    assert len(notes._known) < before


MOVING = {
    "relu": F.relu,
    "reshape": lambda x: x.reshape(2, 8),
    "transpose": lambda x: x.T,
    "getitem": lambda x: x[1:],
    "concatenate": lambda x: F.concatenate([x, x]),
    "stack": lambda x: F.stack([x, x]),
    "pad": lambda x: F.pad(x, 1),
    "where": lambda x: F.where(x.data > 0, x, x),
    "maximum": lambda x: F.maximum(x, x),
    "max_pool2d": lambda x: F.max_pool2d(x.reshape(1, 1, 4, 4), 2),
}
SUMMING = {
    "exp": F.exp,
    "max": lambda x: x.max(),
    "an index twice": lambda x: x[[0, 0]],
    "windows that overlap": lambda x: F.max_pool2d(x.reshape(1, 1, 4, 4), 3, 1),
}


@pytest.mark.parametrize("name", [*MOVING, *SUMMING])
def test_errors_that_move_are_known_and_sums_are_not(fake, name):
    """What an operation gives back has the digits of the errors where it only moves them, else nobody knows."""
    y = {**MOVING, **SUMMING}[name](lp.Tensor(fake.asarray(integers(4, 4)), requires_grad=True))
    gxs = y.creator.backward(note_digits(fake.asarray(integers(*y.shape)), 7))
    known = [known_digits(gx) for gx in (gxs if isinstance(gxs, tuple) else (gxs,))]
    assert known == [7 if name in MOVING else None] * len(known)


def test_new_weights_are_known_by_their_own_format(fake):
    """After a step the weights have the optimizer's digits, whatever those before had."""
    p = lp.Parameter(fake.asarray(integers(4, 4)))
    optimizer = optim.SGD([p], 0.1, precision="bfp8")
    assert known_digits(p.data) == 7
    p.data = p.data * 1.1
    assert known_digits(p.data) is None
    p.grad = fake.asarray(integers(4, 4))
    optimizer.step()
    assert known_digits(p.data) == 7
