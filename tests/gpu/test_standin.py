"""The stand-in refuses what CuPy refuses, and notices whatever would wait for the GPU."""

import numpy as np
import pytest

from . import standin as xp

HOST = np.ones((4, 3), np.float32)


@pytest.fixture
def device():
    """Return an array on the stand-in's device."""
    return xp.asarray(HOST)


REFUSED = {
    "device + host": (lambda d: d + HOST, TypeError),
    "host + device": (lambda d: HOST + d, TypeError),
    "np.exp(device)": (lambda d: np.exp(d), TypeError),
    "np.sum(device)": (lambda d: np.sum(d), TypeError),
    "np.asarray(device)": (lambda d: np.asarray(d), TypeError),
    "xp.add(device, list)": (lambda d: xp.add(d, [1, 2, 3]), TypeError),
    "xp.concatenate with host": (lambda d: xp.concatenate([d, HOST]), TypeError),
    "assigning host": (lambda d: d.__setitem__(0, HOST[0]), TypeError),
    "out on the host": (lambda d: xp.add(d, 1, out=HOST.copy()), TypeError),
    "ufunc where=": (lambda d: xp.add(d, 1, where=d > 0), TypeError),
    "sum(where=)": (lambda d: xp.sum(d, where=d > 0), TypeError),
    "max(initial=)": (lambda d: xp.max(d, initial=0), TypeError),
    "method max(initial=)": (lambda d: d.max(initial=0), TypeError),
    "clip(min=)": (lambda d: xp.clip(d, min=0, max=1), TypeError),
    "maximum.reduce": (lambda d: xp.maximum.reduce(d), NotImplementedError),
    "multiply.at": (lambda d: xp.multiply.at(d, 0, 2), NotImplementedError),
    "errstate": (lambda d: xp.errstate, AttributeError),
    "einsum_path": (lambda d: xp.einsum_path, AttributeError),
    "insert": (lambda d: xp.insert, AttributeError),
    "block": (lambda d: xp.block, AttributeError),
    "spacing": (lambda d: xp.spacing, AttributeError),
    "setting an attribute": (lambda d: setattr(d, "note", 1), AttributeError),
    "a method of NumPy only": (lambda d: d.getfield(np.int32), AttributeError),
    "a kernel with a Python number": (lambda d: xp._argument(1), TypeError),
}
WAITING = {
    "float": lambda d: float(d.sum()),
    "int": lambda d: int(d.sum()),
    "bool": lambda d: bool((d > 0).all()),
    "if": lambda d: 1 if d.sum() else 0,
    "mask": lambda d: d[d > 0],
    "mask assignment": lambda d: d.__setitem__(d > 5, 0.0),
    "get": lambda d: d.get(),
    "item": lambda d: d.sum().item(),
    "tolist": lambda d: d.tolist(),
    "nonzero": lambda d: xp.nonzero(d),
    "where of one": lambda d: xp.where(d),
    "format": lambda d: f"{d.sum():.2f}",
    "repr": lambda d: repr(d),
    "range": lambda d: range(xp.asarray(3)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cupy_refuses(device, name):
    """What CuPy 14 does not take or have raises here as there."""
    call, error = REFUSED[name]
    with pytest.raises(error):
        call(device)


@pytest.mark.parametrize("name", WAITING)
def test_what_waits(device, name):
    """It is counted outside, and fails within `no_waiting`."""
    before = len(xp.waits)
    WAITING[name](device)
    assert len(xp.waits) == before + 1
    with pytest.raises(xp.HiddenWait), xp.no_waiting():
        WAITING[name](device)


def test_numbers_promote_as_in_cupy(device):
    """A NumPy scalar of float64 widens float32, a Python number does not; reductions give arrays."""
    assert (device * np.float64(2)).dtype == np.float64 and (device * 2.0).dtype == np.float32
    total = device.sum()
    assert isinstance(total, xp.ndarray) and total.shape == ()
    assert (device * xp.asarray(np.float64(2))).dtype == np.float64


def test_views_know_their_base(device):
    """As in CuPy, whose every view has the array that owns the memory as its base."""
    assert device.base is None and device.T.base is device and device[1:].T.base is device
    assert (device + 1).base is None and device.reshape(2, 6)[0].base is device
    device.T[0, 0] = 7.0
    assert device.host[0, 0] == 7


def test_fresh_memory_is_not_zero():
    """Nobody can rely on what `empty` holds."""
    assert np.isnan(xp.empty((2, 2), np.float32).host).all() and (xp.empty(3, np.int32).host == 77).all()
