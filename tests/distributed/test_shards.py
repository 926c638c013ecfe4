"""A batch that is cut into shards, in one process: what they exchange, draw and add up is that of the whole batch."""

import contextvars
import itertools
import threading
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import lpnet as lp
from lpnet import functions as F
from lpnet import nn, optim
from lpnet.distributed import batches, gradients, lockstep, processes, shards
from lpnet.tensor import Tensor
from lpnet.training.exchange import Bfp8Rows

ALONE = processes.World(None)


@pytest.fixture
def init(monkeypatch):
    """`init` for this process alone, forgotten when the test ends."""
    monkeypatch.setattr(processes, "world", lambda: ALONE)
    monkeypatch.setattr(batches, "_plan", None)
    return lp.distributed.init


def each(n, number, work, sync=True):
    """Return what `work(shard)` returns for each shard of a batch of n."""

    def one(i, samples, exchange):
        shard = shards.Shard(i, samples, n, exchange, sync_batch_norm=sync)
        shards.enter(shard)
        return work(shard)

    works = [lambda exchange, i=i, s=s: one(i, s, exchange) for i, s in enumerate(shards.cut(n, number))]
    return lockstep.in_turn(works, lambda values: values)


@pytest.mark.parametrize(("n", "number"), [(8, 8), (20, 8), (5, 2), (7, 1), (1, 1)])
def test_every_sample_is_in_one_shard(n, number):
    """Shards are neighbours, in order, and none has more than one sample more than another."""
    cut = shards.cut(n, number)
    assert [i for s in cut for i in range(s.start, s.stop)] == list(range(n))
    sizes = [s.stop - s.start for s in cut]
    assert len(cut) == number and max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("n", [16, 20, 9])
def test_a_shard_draws_what_its_samples_would_draw_in_the_whole_batch(n):
    """So does what follows at the next site, and a generator of its own has other numbers than the next shard's."""
    stream = lp.random.Stream(5)
    own = each(n, 8, lambda s: [lp.random.current(stream).draw(s.size * 6) for _ in range(2)])
    stream = lp.random.Stream(5)
    whole = [stream.draw(n * 6) for _ in range(2)]
    assert all(np.array_equal(np.concatenate(parts), w) for parts, w in zip(zip(*own, strict=True), whole, strict=True))
    seen = each(n, 8, lambda s: lp.random.current(stream).generator().integers(2**60))
    assert len(set(seen)) == 8


def test_rounding_a_shard_is_rounding_its_part_of_the_batch():
    """Stochastic rounding gives the bits of the whole array: each sample's own scale, and one scale for all."""
    x = np.random.default_rng(0).standard_normal((21, 40)).astype(np.float32)
    names = "bfp8", "bfp8:tensor", "e4m3", "fixed8.6", "nvfp4", "mxfp4_e2m1"
    for name, rounding in itertools.product(names, ("stochastic", lp.Stochastic(7))):
        whole, stream = lp.quantize(x, name, rounding, lp.random.Stream(2)), lp.random.Stream(2)
        args = name, rounding, stream
        parts = each(21, 8, lambda s, args=args: lp.quantize(x[s.samples], *args))
        assert np.array_equal(np.concatenate(parts), whole), name


def test_a_source_of_bits_that_depends_on_the_order_of_calls_is_refused():
    """A stream of the user's own kind has no places."""

    class Own(lp.random.Stream):
        pass

    with pytest.raises(TypeError, match="a batch cannot be cut into shards where random bits come from a Own"):
        each(8, 2, lambda _: lp.random.current(Own(1)))


@pytest.mark.parametrize("sync", [True, False])
def test_batch_norm_of_shards(sync):
    """Synchronised it is that of the whole batch, forward and backward; else each shard's is that of it alone."""
    rng = np.random.default_rng(1)
    x, gy = rng.standard_normal((2, 20, 3, 4, 4))
    w, b = rng.standard_normal((2, 3))

    def work(part):
        inputs = [Tensor(a, requires_grad=True) for a in (x[part], w, b)]
        y = F.batch_norm(*inputs)
        y.backward(gy[part])
        return y.data, *(i.grad for i in inputs)

    y, gx, gw, gb = zip(*each(20, 8, lambda s: work(s.samples), sync), strict=True)
    expected = [work(slice(None))] if sync else [work(s) for s in shards.cut(20, 8)]
    for found, want in zip((np.concatenate(y), np.concatenate(gx)), range(2), strict=True):
        np.testing.assert_allclose(found, np.concatenate([e[want] for e in expected]), atol=1e-12)
    np.testing.assert_allclose(sum(gw), sum(e[2] for e in expected), atol=1e-12)
    np.testing.assert_allclose(sum(gb), sum(e[3] for e in expected), atol=1e-12)


def test_running_statistics_are_those_of_the_whole_batch_and_move_once():
    """Whether shards normalize together or each by itself."""
    x = np.random.default_rng(1).standard_normal((20, 3))
    for sync in (True, False):
        norm = nn.BatchNorm1d(3)
        enter_first = iter([True, *[False] * 7])

        def work(s, norm=norm, first=enter_first):
            s.leads = next(first)
            return norm(Tensor(x[s.samples].astype(np.float32)))

        each(20, 8, work, sync)
        np.testing.assert_allclose(norm.running_mean.data, 0.1 * x.mean(0), rtol=1e-5)
        np.testing.assert_allclose(norm.running_var.data, 0.9 + 0.1 * x.var(0, ddof=1), rtol=1e-5)


@pytest.mark.parametrize("number", [1, 2, 3, 5, 6, 8, 12])
def test_the_sum_of_shards_has_one_order(number):
    """The tree over all is the tree over the trees of whole branches, and in float64 the plain sum."""
    parts = list(np.random.default_rng(0).standard_normal((number, 50)).astype(np.float32))
    total = shards.tree(parts)
    np.testing.assert_allclose(total, np.sum(np.asarray(parts, np.float64), axis=0), rtol=1e-4, atol=1e-5)
    if number == 8:
        assert np.array_equal(total, shards.tree([shards.tree(parts[:4]), shards.tree(parts[4:])]))
    for size in [n for n in range(1, number + 1) if number % n == 0]:
        for found in summed([[part] for part in parts], size, False)[0]:
            assert np.array_equal(found[0], total)


class Talk:
    """What processes of a test say in MPI, where each has a thread."""

    def __init__(self, size):
        self.size, self.sent = size, 0
        self.board, self.barrier = [None] * size, threading.Barrier(size)

    def all(self, rank, value):
        """Return what each gives."""
        self.board[rank] = value
        self.barrier.wait(30)
        found = list(self.board)
        self.barrier.wait(30)
        return found


class Process(processes.World):
    """One of them; `sent` counts the bytes of arrays that leave it."""

    def __init__(self, talk, rank):
        super().__init__(None)
        self.talk, self.rank, self.size, self.comm, self.sent = talk, rank, talk.size, self, 0

    def allgather(self, value):
        return self.talk.all(self.rank, value)

    def Alltoall(self, sent, got):
        got[...] = [rows[self.rank] for rows in self.talk.all(self.rank, sent)]
        self.sent += sent.nbytes * (self.size - 1) // self.size

    def Allgather(self, own, result):
        result.reshape(self.size, -1)[...] = [part.reshape(-1) for part in self.talk.all(self.rank, own)]
        self.sent += own.nbytes * (self.size - 1)


def summed(parts, size, compress):
    """Return the sums that so many processes come to, and the bytes that one of them sends."""
    talk, m = Talk(size), len(parts) // size
    worlds = [Process(talk, rank) for rank in range(size)]
    lp.manual_seed(7)
    levels = (len(parts) - 1).bit_length() + 1
    codes = Bfp8Rows(levels * len(parts))
    totals = [
        gradients.CompressedSum(w, parts[w.rank * m :][:m], w.rank * m, len(parts), codes)
        if compress
        else gradients.Sum(w, parts[w.rank * m :][:m])
        for w in worlds
    ]
    with ThreadPoolExecutor(size) as pool:
        found = list(pool.map(lambda total: total.exchange(), totals))
    return found, worlds[0].sent


@pytest.mark.parametrize(("number", "sizes"), [(8, (1, 2, 4, 8)), (6, (1, 2, 3, 6)), (5, (1, 5))])
def test_compressed_sums_have_the_same_bits_for_any_number_of_processes(number, sizes):
    """In each of the processes, of arrays of several shapes, and each within the errors of all roundings of the sum."""
    rng = np.random.default_rng(0)
    parts = [[rng.standard_normal(s).astype(np.float32) for s in ((40, 30), (7,), ())] for _ in range(number)]
    exact = [np.sum([part[i] for part in parts], axis=0) for i in range(3)]
    want = summed(parts, 1, True)[0][0]
    for size in sizes:
        for found in summed(parts, size, True)[0]:
            assert all(np.array_equal(a, b) for a, b in zip(found, want, strict=True))
    gap = 2.0 ** (np.ceil(np.log2(max(np.abs(e).max() for e in exact))) - 6)  # of the largest numbers anywhere
    assert all((np.abs(a - e) < 2 * number * gap).all() for a, e in zip(want, exact, strict=True))
    assert not any(np.array_equal(a, e) for a, e in zip(want, exact, strict=True))


def test_compressed_sums_are_right_on_average():
    """Over many sites the mean comes to the exact sum: its error is that of a mean of as many roundings."""
    parts = [[p] for p in np.random.default_rng(1).standard_normal((4, 512)).astype(np.float32)]
    means, rounds = 0, 400
    lp.manual_seed(3)
    for _ in range(rounds):
        total = gradients.CompressedSum(ALONE, parts, 0, 4, Bfp8Rows(12)).exchange()[0]
        means = means + total.astype(np.float64) / rounds
    error = means - np.sum([p for (p,) in parts], axis=0, dtype=np.float64)
    # Seven roundings, each of a variance of at most gap^2 / 4; gaps are at most 2^-3 here.
    assert np.abs(error).max() < 5 * np.sqrt(7 / 4 / rounds) * 2.0**-3 and abs(error.mean()) < 0.002


def test_compressed_sums_are_a_quarter_of_the_bytes():
    """A byte a number and four for 256, to and from each process, in place of four a number."""
    parts = [[np.ones(2048 * 8, np.float32)] for _ in range(8)]
    for size in (2, 4, 8):
        assert summed(parts, size, True)[1] / summed(parts, size, False)[1] == 260 / 1024


def test_a_gradient_that_is_not_finite_is_seen_in_the_compressed_sum():
    """A loss scaler looks for it; the rows beside it are as ever."""
    parts = [[np.ones((2, 256), np.float32)] for _ in range(2)]
    parts[1][0][1, 5] = np.inf
    total = gradients.CompressedSum(ALONE, parts, 0, 2, Bfp8Rows(4)).exchange()[0]
    assert (total[0] == 2).all() and np.isnan(total[1]).all()


@pytest.mark.parametrize(("addresses", "apart"), [("ab", True), ("aa", False), (["a", None], False)])
def test_nccl_is_for_processes_with_a_gpu_each(monkeypatch, addresses, apart):
    """All take it or none: not where two share a GPU, nor where one of them has no NCCL."""
    talk, left = Talk(2), list(addresses)
    monkeypatch.setattr(processes, "nccl_address", left.pop)
    monkeypatch.setattr(processes, "nccl_group", lambda size, rank: (size, rank))
    worlds = [Process(talk, rank) for rank in range(2)]
    for world in worlds:
        world.mpi = types.SimpleNamespace(Get_processor_name=lambda: "the machine")
    with ThreadPoolExecutor(2) as pool:  # not world.gpus: before Python 3.12 one lock guards those of all objects
        found = list(pool.map(processes.World.gpus.func, worlds))
    assert [gpus and gpus.group for gpus in found] == ([(2, 0), (2, 1)] if apart else [None, None])


def test_shards_that_do_not_compute_the_same_are_told_so():
    """One that ends where others wait, and one that fails, end all; the first error is raised."""

    def uneven(s):
        return shards.everywhere(1) if s.number else None

    def failing(s):
        shards.everywhere(1)
        raise KeyError(s.number)

    with pytest.raises(RuntimeError, match="the shards of a batch do not compute the same"):
        each(8, 4, uneven)
    with pytest.raises(KeyError, match="0"):
        each(8, 4, failing)


def test_no_shard_remains_when_all_have_ended():
    """What is computed after a step is whole again."""
    assert contextvars.copy_context().run(lambda: each(8, 2, lambda s: shards.current() is s)) == [True, True]
    assert shards.current() is None


def trained(shape=(24, 5), dtype=np.float64):
    """Return the weights after two epochs of a network with BatchNorm, by whole batches or as `init` said."""
    lp.manual_seed(1)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal(shape).astype(dtype), rng.integers(0, 3, shape[0])
    model = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, 3)).astype(dtype)
    batches_of = [(x[:20], y[:20]), (x[20:], y[20:])]
    lp.fit(model, batches_of, epochs=2, optimizer=optim.SGD(model.parameters(), 0.1), progress=False)
    return model.state_dict()


def test_shards_are_gradient_accumulation(init):
    """In float64 eight shards, some uneven, and a batch of four samples give the weights of whole batches."""
    whole = trained()
    init(8)
    cut = trained()
    for name, value in whole.items():
        np.testing.assert_allclose(cut[name], value, rtol=1e-9, atol=1e-12)


def test_what_init_takes_is_what_a_run_has_to_have_again(init, tmp_path):
    """A run with eight shards is not one with four: their sums have other bits."""
    init(8)
    model = nn.Linear(2, 2)
    options = {"epochs": 1, "optimizer": optim.SGD(model.parameters(), 0.1), "out": tmp_path, "progress": False}
    data = [(np.ones((8, 2), np.float32), np.zeros(8, int))]
    lp.fit(model, data, **options)
    init(4)
    with pytest.raises(ValueError, match="shards"):
        lp.fit(model, data, resume=True, **options)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [({"shards": 0}, "shards"), ({"sync_batch_norm": 2}, "sync_batch"), ({"compress": 8}, "compress")],
)
def test_what_init_refuses(init, options, sentence):
    """In one sentence, and nothing is changed."""
    with pytest.raises((ValueError, TypeError), match=f"init: {sentence}"):
        init(**options)
    assert not lp.distributed.on()
