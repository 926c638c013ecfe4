"""Threads give the same as a loop, and memory is lent to one array at a time."""

import contextvars
import gc
import multiprocessing
import os
import sys
import threading
import time

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


def test_nothing_is_raised_while_others_still_work():
    """An error of one item comes out only when no thread works on another."""
    lp.set_num_threads(3)
    meeting, ended = threading.Barrier(3, timeout=60), []

    def work(i):
        meeting.wait()
        if i:
            time.sleep(0.02 * i)
        ended.append(i)
        raise KeyboardInterrupt if i == 2 else KeyError

    with pytest.raises(KeyboardInterrupt):
        backend.parallel(work, range(3))
    assert sorted(ended) == [0, 1, 2]


def test_no_thread_is_left_after_changing_their_number():
    """Also while others compute: with one thread set, all helpers end."""
    lp.set_num_threads(np.int64(2))
    stop = threading.Event()

    def compute():
        while not stop.is_set():
            assert backend.parallel(abs, range(8)) == list(range(8))

    callers = [threading.Thread(target=compute) for _ in range(3)]
    for caller in callers:
        caller.start()
    for n in range(60):
        lp.set_num_threads(1 + n % 3)
    stop.set()
    for caller in callers:
        caller.join()
    lp.set_num_threads(1)
    deadline = time.monotonic() + 20
    while (left := [t for t in threading.enumerate() if t.name.startswith("lpnet-")]) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert left == []


def test_fewer_threads_where_the_system_refuses_more(monkeypatch):
    """Work is done all the same."""
    lp.set_num_threads(4)

    def refuse(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert backend.parallel(abs, range(-9, 0)) == list(range(9, 0, -1))


def test_processors_are_those_of_the_affinity_and_no_more_than_windows_waits_for(monkeypatch):
    """Processes for 64 processors are 61; of 64, those that this process may use count."""
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(3), raising=False)
    assert backend.processors() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    assert backend.processors() == 61 and backend.processors(8) == 8


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
    """One of the next arrays of that size is where the former was."""
    gc.collect()
    backend.empty_cache()
    x = backend.empty((123, 457), np.float32)
    place, view = x.ctypes.data, x.reshape(-1)[3:]
    del x
    assert backend.empty((123, 457), np.float32).ctypes.data != place
    del view
    arrays = [backend.empty((457, 123), np.float32) for _ in range(2)]
    assert place in [array.ctypes.data for array in arrays]


def held():
    """Return how many bytes the pool remembers."""
    return sum(size * len(blocks) for size, blocks in backend.memory._pool.items())


def test_what_is_held_back_is_limited(monkeypatch):
    """Beyond the limit freed memory goes back to the system, that of sizes not asked for the longest first."""
    backend.empty_cache()
    monkeypatch.setattr(backend.memory, "_KEPT", 1 << 20)
    monkeypatch.setattr(backend.memory, "_REMEMBERED", 1 << 21)
    arrays = [backend.empty((1 << 18,), np.uint8) for _ in range(9)]
    assert held() == 1 << 21
    del arrays
    for size in range(1 << 17, (1 << 17) + 100):
        backend.empty((size,), np.uint8)
        assert held() <= (1 << 20) + size
    sizes = list(backend.memory._pool)
    assert sizes[-7:] == list(range((1 << 17) + 93, (1 << 17) + 100)) and len(sizes) <= 8
    lp.empty_cache()
    assert held() == 0


def test_threads_never_share_memory():
    """Arrays made in many threads at once, and freed in any order, each have their own memory."""
    wrong, interval = [], sys.getswitchinterval()

    def work(k):
        mine = []
        for i in range(300):
            mine.append(backend.empty((1 << 14,), np.float32))
            mine[-1][::64] = k
            if i % 3:
                x = mine.pop(0)
                wrong.extend([k] if (x[::64] != k).any() else [])

    workers = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    sys.setswitchinterval(1e-6)
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []


def test_no_python_code_runs_when_an_array_goes():
    """What arrived in such code, a Ctrl-C, would be swallowed."""
    array, ran, former = backend.empty((1 << 18,), np.uint8), [], sys.getprofile()
    sys.setprofile(lambda frame, event, _: ran.append(frame.f_code.co_name) if event == "call" else None)
    try:
        del array
    finally:
        sys.setprofile(former)
    assert ran == []


def blas():
    """Return how many threads BLAS uses now."""
    return [library.get_num_threads() for library in backend.blas._blas()]


@pytest.fixture
def two_blas_threads():
    """Let BLAS use two threads, so that one is seen to differ."""
    before = blas()
    backend.blas._set_blas([2] * len(before))
    yield
    backend.blas._set_blas(before)


def test_one_blas_thread_inside_as_many_as_before_outside(two_blas_threads):
    """Blocks may nest; the number is set back at the end of the outermost, also after an error."""
    before = blas()
    with pytest.raises(ZeroDivisionError), backend.one_blas_thread():
        with backend.one_blas_thread():
            assert blas() == [1] * len(before)
        assert blas() == [1] * len(before)
        1 / 0  # noqa: B018
    assert blas() == before
    assert backend.one_blas_thread()(blas)() == [1] * len(before)
    assert blas() == before


def test_blas_is_set_back_by_the_last_of_many_threads(two_blas_threads):
    """Threads that enter and leave all the time have one BLAS thread inside, and leave the number as it was."""
    before, interval, seen = blas(), sys.getswitchinterval(), set()

    def work():
        for _ in range(500):
            with backend.one_blas_thread():
                seen.update(blas())

    workers = [threading.Thread(target=work) for _ in range(4)]
    sys.setswitchinterval(1e-6)
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    finally:
        sys.setswitchinterval(interval)
    assert seen == {1} and blas() == before


def interrupt_at(event, function, line):
    """Return a trace function that raises KeyboardInterrupt at the entry or a line of a function, once."""
    left = [1]

    def trace(frame, what, _):
        here = frame.f_code is function.__code__ and what == event and (event == "call" or frame.f_lineno == line)
        if here and left:
            left.clear()
            raise KeyboardInterrupt
        return trace

    return trace


LINES = [
    (f, line)
    for f in (
        backend.blas._settle_blas,
        backend.blas._set_blas,
        backend.one_blas_thread.__enter__,
        backend.one_blas_thread._leave,
        backend.one_blas_thread.__exit__,
    )
    for line in sorted({n for *_, n in f.__code__.co_lines() if n} - {f.__code__.co_firstlineno})
    if line != backend.one_blas_thread.__exit__.__code__.co_firstlineno + 1
]


@pytest.mark.parametrize(("function", "line"), LINES)
def test_a_ctrl_c_in_any_line_leaves_blas_as_it_was(two_blas_threads, function, line):
    """Wherever in entering or leaving a block it arrives, it comes out and the number of threads is set back."""
    before, former = blas(), sys.gettrace()
    sys.settrace(interrupt_at("line", function, line))
    try:
        with backend.one_blas_thread():
            pass
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(former)
    assert blas() == before and backend.blas._blas_blocks == []


def test_a_ctrl_c_at_the_entry_of_exit_is_made_good_by_the_next_block(two_blas_threads):
    """A block whose __exit__ was never run is not taken for one that still runs."""
    before, former = blas(), sys.gettrace()
    sys.settrace(interrupt_at("call", backend.one_blas_thread.__exit__, 0))
    try:
        with pytest.raises(KeyboardInterrupt), backend.one_blas_thread():
            pass
    finally:
        sys.settrace(former)
    assert blas() != before
    with backend.one_blas_thread():
        pass
    assert blas() == before


def test_a_ctrl_c_at_the_entry_of_exit_is_made_good_by_the_block_around(two_blas_threads):
    """The outermost block sets the number back though one within it was never left."""
    before, former = blas(), sys.gettrace()
    sys.settrace(interrupt_at("call", backend.one_blas_thread.__exit__, 0))
    try:
        with backend.one_blas_thread(), backend.one_blas_thread():
            pass
    except KeyboardInterrupt:
        assert blas() == before and backend.blas._blas_blocks == []
    else:
        raise AssertionError("no Ctrl-C arrived")
    finally:
        sys.settrace(former)


def in_a_fork(function):
    """Return what the function returns in a forked child process."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=lambda: sender.send(function()))
    child.start()
    sender.close()
    try:
        return receiver.recv()
    finally:
        child.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_starts_with_nothing_of_its_parents_threads(two_blas_threads):
    """It has helpers of its own, holds back no memory, and blocks of the parent's other threads do not bind it."""
    lp.set_num_threads(2)
    backend.parallel(abs, range(4))  # threads are running
    before, inside, end = blas(), threading.Event(), threading.Event()

    def hold():
        with backend.one_blas_thread():
            inside.set()
            end.wait()

    def child():
        meeting, outside = threading.Barrier(2), blas()
        return outside, sorted(backend.parallel(lambda _: meeting.wait(20), [0, 1]))

    holder = threading.Thread(target=hold)
    holder.start()
    inside.wait()
    try:
        assert in_a_fork(child) == (before, [0, 1])
    finally:
        end.set()
        holder.join()
