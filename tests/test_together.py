"""Trainings that run at the same time, in threads and in child processes, give the same bits as each one alone.

The long proof: python -m tests.test_together --steps 100 --pairs 10
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import lpnet as lp
from lpnet import nn, optim
from lpnet.data import DataLoader, random_crop, random_flip
from lpnet.training import first_nonfinite

SEEDS = (5, 6)
FORKED = pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="nothing forks here")


def parts(seed: int, batch_size: int = 64, epochs: int = 2) -> dict:
    """Return fit's arguments for a run in which all that is random comes from the default stream or the loader."""
    lp.manual_seed(seed)
    train, test = lp.data.load("digits")
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(72, 10),
    )
    precision = lp.Precision.uniform("bfp8")
    nn.lower(model, precision)
    optimizer = optim.SGD(model.parameters(), 0.1, 0.9, 1e-4, precision=precision)
    loader = DataLoader(train[:320], batch_size, shuffle=True, seed=seed, transform=(random_crop(1), random_flip()))
    return {
        "model": model,
        "train": loader,
        "test": DataLoader(test[:100]),
        "epochs": epochs,
        "optimizer": optimizer,
        "swalp": optim.SWALP(model, optimizer, 3, 2, 0.02, "bfp8"),
        "progress": False,
    }


def train(seed: int, epochs: int = 2, meet=lambda: None) -> str:
    """Train, going each step at the pace of the others; return a digest of weights, average, log and position."""
    run = parts(seed, epochs=epochs)
    transform = run["train"].transform
    run["train"].transform = lambda x, rng: (meet(), transform(x, rng))[1]
    log = lp.fit(**run)
    arrays = [*run["model"].state_dict().values(), *run["swalp"].state_dict()["mean"].values()]
    text = repr((log, lp.random.thread_stream(), run["train"].state_dict()))
    return hashlib.sha256(b"".join(a.tobytes() for a in arrays) + text.encode()).hexdigest()


def in_threads(seeds, epochs: int = 2) -> list[str]:
    """Train in a thread a seed; they meet before every step."""
    barrier = threading.Barrier(len(seeds), timeout=60)
    with ThreadPoolExecutor(len(seeds)) as pool:
        return list(pool.map(lambda seed: train(seed, epochs, barrier.wait), seeds))


def in_children(seeds, method: str, epochs: int = 2) -> list[str]:
    """Train in a child process a seed, all at the same time."""
    with multiprocessing.get_context(method).Pool(len(seeds)) as pool:
        return pool.starmap(train, [(seed, epochs) for seed in seeds])


def resident() -> int:
    """Return the bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def growth(steps: int) -> int:
    """Return by how many bytes the process grows over so many steps, after 40 to warm up."""
    seen, run = [], parts(5, batch_size=32, epochs=(steps + 40) // 10)
    run["progress"] = lambda row: seen.append(resident())
    lp.fit(**{**run, "test": None})
    return seen[-1] - seen[3]


@pytest.fixture(scope="module")
def alone():
    return [train(seed) for seed in SEEDS]


def test_the_two_differ(alone):
    assert len(set(alone)) == 2


def test_two_threads_give_the_bits_of_each_alone(alone):
    assert in_threads(SEEDS) == alone


def test_a_thread_leaves_the_main_threads_stream_and_loaders_alone(alone):
    """The main thread trains while others do, and its position is its own."""
    barrier, before = threading.Barrier(2, timeout=60), lp.random.default.seed_call
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(train, SEEDS[1], meet=barrier.wait)
        assert train(SEEDS[0], meet=barrier.wait) == alone[0] and other.result() == alone[1]
    assert lp.random.thread_stream() is lp.random.default and lp.random.default.seed_call > before


def test_a_thread_that_does_not_seed_draws_on_from_the_default_stream():
    lp.manual_seed(3)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(lambda: lp.random.current().draw(8).tolist()).result()
    assert first == lp.random.Stream(3).draw(8).tolist() and lp.random.default.site == 1


def test_a_loader_follows_the_seeding_of_the_thread_it_is_used_in():
    loader = DataLoader(lp.data.load("digits")[0], 500)
    list(loader)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lp.manual_seed, 1).result()
        assert loader.epoch == 1  # here nobody seeded
        assert pool.submit(lambda: loader.epoch).result() == 0


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", [pytest.param("fork", marks=FORKED), "spawn"])
def test_children_give_the_bits_of_each_alone(alone, method):
    """Also children that are forked while a thread of the parent trains."""
    with ThreadPoolExecutor(1) as pool:
        beside = pool.submit(train, SEEDS[0])
        assert in_children(SEEDS, method) == alone
        assert beside.result() == alone[0]


def test_the_search_for_the_first_nonfinite_number_looks_at_its_own_thread_only():
    class Beside(nn.Module):
        """While it computes, another thread's model gives NaN."""

        def forward(self, x):
            with ThreadPoolExecutor(1) as pool:
                pool.submit(nn.ReLU(), lp.Tensor(np.float32([np.nan]))).result()
            return x

    assert first_nonfinite(Beside(), np.ones(2, np.float32)) is None


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_a_hundred_steps_more_take_no_more_memory():
    assert growth(100) < 4 << 20


def prove(steps: int, pairs: int, report) -> None:
    """Raise AssertionError unless so many pairs of seeds give the bits of each alone, and no memory is lost."""
    epochs = -(-steps // 5)
    for pair in range(pairs):
        seeds = (2 * pair, 2 * pair + 1)
        alone = [train(seed, epochs) for seed in seeds]
        assert in_threads(seeds, epochs) == alone, f"threads, seeds {seeds}"
        for method in {"fork", "spawn"} & set(multiprocessing.get_all_start_methods()):
            assert in_children(seeds, method, epochs) == alone, f"{method}, seeds {seeds}"
        report(f"seeds {seeds}: {5 * epochs} steps in two threads, forked and spawned children: the bits of each alone")
    grown = growth(steps)
    assert grown < 4 << 20, f"{grown} bytes more after {steps} steps"
    with ThreadPoolExecutor(2) as pool:
        before = resident()
        list(pool.map(growth, (steps, steps)))
        list(pool.map(growth, (steps, steps)))
    report(
        f"memory after {steps} steps: {grown / 1e6:+.2f} MB; after two runs in each of two threads: "
        f"{(resident() - before) / 1e6:+.2f} MB"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100, help="steps of each run")
    parser.add_argument("--pairs", type=int, default=10, help="pairs of seeds")
    arguments = parser.parse_args()
    prove(arguments.steps, arguments.pairs, lambda line: print(line, file=sys.stdout, flush=True))
