"""Threads give the same as a loop, and memory is lent to one array at a time."""

import contextvars
import gc
import threading

import numpy as np
import pytest

import lpnet as lp
from lpnet import backend


@pytest.fixture(autouse=True)
def _threads():
    n = lp.get_num_threads()
    yield
    lp.set_num_threads(n)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_parallel_is_a_loop(threads):
    """Results come in the order of the items, whoever computed them."""
    lp.set_num_threads(threads)
    assert backend.parallel(lambda i: i * i, range(100)) == [i * i for i in range(100)]
    assert backend.parallel(str, []) == []


def test_other_threads_do_work():
    """With two threads two items are computed at the same time: each waits for the other."""
    lp.set_num_threads(2)
    meeting = threading.Barrier(2, timeout=60)
    assert sorted(backend.parallel(lambda _: meeting.wait(), [0, 1])) == [0, 1]


def test_an_error_in_any_thread_is_raised_and_ends_the_work():
    """The error of an item comes out, threads go on with later work, and nothing is started after it."""
    lp.set_num_threads(2)
    done = []

    def fail(i):
        if i == 3:
            raise KeyError(i)
        done.append(i)

    with pytest.raises(KeyError):
        backend.parallel(fail, range(10_000))
    assert len(done) < 9_999
    assert backend.parallel(abs, [-1, -2]) == [1, 2]


def test_settings_that_hold_here_hold_in_every_thread():
    """A context variable set by the caller is seen by all items."""
    lp.set_num_threads(3)
    variable = contextvars.ContextVar("variable", default=0)
    variable.set(7)
    assert backend.parallel(lambda _: variable.get(), range(50)) == [7] * 50


def test_work_within_work_ends():
    """What is computed in parallel may do the same: it never waits for a thread that waits for it."""
    lp.set_num_threads(2)
    inner = backend.parallel(lambda i: sum(backend.parallel(abs, range(i))), range(20))
    assert inner == [sum(range(i)) for i in range(20)]


def test_many_callers_at_once():
    """Threads of the user's own share lpnet's threads without mixing their results."""
    lp.set_num_threads(2)
    results = {}

    def call(k):
        results[k] = [backend.parallel(lambda i: i + k, range(20)) for _ in range(50)]

    callers = [threading.Thread(target=call, args=(k,)) for k in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert results == {k: [[i + k for i in range(20)]] * 50 for k in range(4)}


def test_memory_in_use_is_not_lent_again():
    """Arrays that live overlap nowhere, also when only a view of one is left."""
    first = backend.empty((300, 400), np.float32)
    view = first[5:7].T
    first[...] = 1
    del first
    others = [backend.empty((300, 400), np.float32) for _ in range(3)]
    for other in others:
        other[...] = 2
    assert (view == 1).all()
    assert not any(np.shares_memory(a, b) for i, a in enumerate(others) for b in others[:i])


def test_memory_comes_back_when_the_last_view_is_gone():
    """The next array of that size is where the former was."""
    gc.collect()
    x = backend.empty((123, 457), np.float32)
    place, view = x.ctypes.data, x.reshape(-1)[3:]
    del x
    assert backend.empty((123, 457), np.float32).ctypes.data != place
    del view
    assert backend.empty((457, 123), np.float32).ctypes.data == place


def test_what_is_held_back_is_limited(monkeypatch):
    """Beyond the limit freed memory goes back to the system."""
    monkeypatch.setattr(backend, "_free", backend.defaultdict(list))
    monkeypatch.setattr(backend, "_free_bytes", 0)
    monkeypatch.setattr(backend, "_KEPT", 1 << 20)
    arrays = [backend.empty((1 << 18,), np.uint8) for _ in range(9)]
    del arrays
    assert sum(map(len, backend._free.values())) == 4
    assert backend._free_bytes == 1 << 20


def test_one_blas_thread_inside_as_many_as_before_outside():
    """Blocks may nest; the number is set back at the end of the outermost, also after an error."""
    def blas():
        return [pool["num_threads"] for pool in backend._blas().info()]

    before = blas()
    with pytest.raises(ZeroDivisionError), backend.one_blas_thread():
        with backend.one_blas_thread():
            assert blas() == [1] * len(before)
        assert blas() == [1] * len(before)
        1 / 0  # noqa: B018
    assert blas() == before
