"""Batches are a function of (seed, epoch, batch): a loader resumed anywhere goes on as if never stopped."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lpnet import manual_seed
from lpnet.data import DataLoader, Dataset, compose, random_crop, random_flip, statistics

N = 23
IMAGES = np.random.default_rng(0).integers(0, 256, (N, 2, 4, 4)).astype(np.uint8)
DATA = Dataset(IMAGES, np.arange(N), "some", N, *statistics(IMAGES))


def make(seed=3, **options):
    usual = {"batch_size": 4, "shuffle": True, "transform": (random_crop(1), random_flip())}
    return DataLoader(DATA, seed=seed, **{**usual, **options})


SETTINGS = {"batch_size": 4, "shuffle": True, "drop_last": False, "length": N}  # of make()


def same(some, others):
    some, others = list(some), list(others)
    return len(some) == len(others) and all(
        np.array_equal(x, u) and np.array_equal(y, v) for (x, y), (u, v) in zip(some, others, strict=True)
    )


def test_an_unshuffled_epoch_is_the_data_set_in_order_normalised():
    """Batches joined are the data set; the last may be short."""
    batches = list(DataLoader(DATA, 5))
    assert [len(y) for _, y in batches] == [5, 5, 5, 5, 3] and len(DataLoader(DATA, 5)) == 5
    x, y = (np.concatenate(part) for part in zip(*batches, strict=True))
    assert (x.dtype, y.dtype) == (np.float32, np.int64)
    np.testing.assert_array_equal(y, DATA.labels)
    np.testing.assert_array_equal(x, DATA.normalize(DATA.scaled()))


@settings(deadline=None)
@given(st.integers(1, 30), st.booleans(), st.integers(0, 2**64 - 1))
def test_a_shuffled_epoch_has_every_sample_once(batch_size, drop_last, seed):
    """Whatever the seed and the size of a batch, none is there twice."""
    if drop_last and batch_size > N:
        return
    loader = DataLoader(DATA, batch_size, shuffle=True, drop_last=drop_last, seed=seed)
    labels = np.concatenate([y for _, y in loader])
    assert len(np.unique(labels)) == len(labels) == (N // batch_size * batch_size if drop_last else N)
    assert sorted(loader.order(1)) == list(range(N))


def test_images_and_labels_stay_together():
    """Shuffling moves both alike."""
    for x, y in DataLoader(DATA, 4, shuffle=True):
        np.testing.assert_array_equal(x, DATA.normalize(DATA.scaled(y)))


def test_epochs_and_seeds_differ_and_repeat():
    """The same seed gives the same batches; another epoch, seed or transform others."""
    first, second = list(make()), make()
    assert same(first, second)
    assert not same(first, second)  # its second epoch
    assert not same(first, make(seed=4))
    assert not same(first, make(transform=None))


def test_augmentation_differs_from_batch_to_batch_and_epoch_to_epoch():
    """One sample repeated, in one fixed order: only the draws can differ."""
    one = DATA[np.zeros(12, int)]
    loader = DataLoader(one, 6, transform=random_crop(2))
    (a, _), (b, _) = loader
    (c, _), _ = loader
    assert (a != b).any() and (a != c).any()


def test_augmentation_happens_before_normalisation():
    """Zeros that a crop brings in are black, not the mean."""
    black = DATA.normalize(np.zeros((1, 2, 1, 1), np.float32))
    x, _ = next(iter(DataLoader(DATA, transform=lambda x, rng: np.zeros_like(x))))
    np.testing.assert_array_equal(x, np.broadcast_to(black, x.shape))


def test_order_and_augmentation_read_streams_of_their_own():
    """Philox keys (seed, 2) and (seed, 3), counters (0, epoch, 0, 0) and (0, epoch, batch, 0)."""
    words = np.random.Philox(key=[3, 2], counter=[0, 7, 0, 0]).random_raw(N)
    np.testing.assert_array_equal(make().order(7), np.argsort(words))
    drawn = []
    loader = make(transform=lambda x, rng: drawn.append(rng.bit_generator.random_raw()) or x)
    loader.epoch = 7
    list(loader)
    assert drawn == [np.random.Philox(key=[3, 3], counter=[0, 7, b, 0]).random_raw() for b in range(6)]


def run(loader, batches):
    """Take that many batches, over as many epochs as it needs; return them with the state after each."""
    out = []
    while True:
        for xy in loader:
            out.append((xy, loader.state_dict()))
            if len(out) == batches:
                return out


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("stop", range(1, 16))
def test_a_resumed_loader_goes_on_as_if_never_stopped(stop, shuffle):
    """From the state after any batch, all later batches and states are the same."""
    whole = run(make(shuffle=shuffle), 20)
    fresh = make(seed=99, shuffle=shuffle)
    fresh.load_state_dict(whole[stop - 1][1])
    rest = run(fresh, 20 - stop)
    assert same([xy for xy, _ in rest], [xy for xy, _ in whole[stop:]])
    assert [state for _, state in rest] == [state for _, state in whole[stop:]]


def test_the_state_counts_the_batch_just_received():
    """Within the loop's body the batch in hand is counted, and the epoch counts up at the end."""
    loader = make()
    states = [loader.state_dict() for _ in loader]
    assert states == [{"seed": 3, "epoch": 0, "batch": b + 1, **SETTINGS} for b in range(6)]
    assert loader.state_dict() == {"seed": 3, "epoch": 1, "batch": 0, **SETTINGS}


def test_resumed_after_the_last_batch_the_epoch_only_ends():
    """There is no batch left, and the next epoch begins."""
    loader = make()
    loader.load_state_dict({"seed": 3, "epoch": 4, "batch": 6})
    assert list(loader) == []
    assert loader.state_dict() == {"seed": 3, "epoch": 5, "batch": 0, **SETTINGS}


def test_left_by_break_the_next_loop_starts_the_epoch_again():
    """Only a loop that came to its end counts an epoch."""
    loader, whole = make(), list(make())
    for _ in range(2):
        for _ in loader:
            break
    assert loader.state_dict() == {"seed": 3, "epoch": 0, "batch": 1, **SETTINGS}
    assert same(loader, whole)


def test_a_batch_that_failed_is_not_counted():
    """An exception of a transform leaves the position before the batch."""

    def fail(x, rng):
        raise RuntimeError("no")

    loader = make(transform=fail)
    with pytest.raises(RuntimeError):
        list(loader)
    assert loader.state_dict()["batch"] == 0


def test_loading_a_state_continues_only_once():
    """The second loop after a load starts at the epoch's beginning."""
    loader = make()
    loader.load_state_dict({"seed": 3, "epoch": 0, "batch": 4})
    for _ in loader:
        break
    assert same(loader, make())


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"seed": 1, "epoch": 0}, "has no batch"),
        ({"seed": 1, "epoch": 0, "batch": 7}, r"batch must be an integer from 0 to 6, got 7"),
        ({"seed": -1, "epoch": 0, "batch": 0}, "seed must be"),
        ({"seed": 1, "epoch": 0.5, "batch": 0}, "epoch must be"),
        ({"seed": 1, "epoch": -1, "batch": 0}, "epoch must be"),
        ({"seed": 1, "epoch": 2**64, "batch": 0}, "epoch must be"),
        ({"seed": 1, "epoch": 0, "batch": -1}, "batch must be"),
        (None, "the state must be a dictionary, got NoneType"),
        ({"seed": 1, "epoch": 0, "batch": 0, "batch_size": 8}, "made with batch_size 8, this loader has 4"),
        ({"seed": 1, "epoch": 0, "batch": 0, "shuffle": False}, "made with shuffle False, this loader has True"),
        ({"seed": 1, "epoch": 0, "batch": 0, "drop_last": True}, "made with drop_last True, this loader has False"),
        ({"seed": 1, "epoch": 0, "batch": 0, "length": 24}, "made with length 24, this loader has 23"),
    ],
)
def test_a_foreign_state_is_refused_and_changes_nothing(state, message):
    """A state of another loader, or of none, is refused by what is wrong with it."""
    loader = make()
    with pytest.raises(ValueError, match=message):
        loader.load_state_dict(state)
    assert same(loader, make())


@pytest.mark.parametrize("used", [0, 3, 6, 14])
def test_after_manual_seed_a_used_loader_gives_the_run_of_a_fresh_one(used):
    """Seeding sends a loader back to its beginning, wherever it was."""
    loader = make()
    run(loader, used) if used else loader.load_state_dict({"seed": 3, "epoch": 2, "batch": 1})
    manual_seed(0)
    assert loader.state_dict() == make().state_dict()
    assert [(s, xy[1].tolist()) for xy, s in run(loader, 8)] == [(s, xy[1].tolist()) for xy, s in run(make(), 8)]


def test_a_position_set_after_manual_seed_stays():
    """Only positions from before the seeding are forgotten."""
    first, second = make(), make()
    manual_seed(0)
    first.epoch = 2
    second.load_state_dict({"seed": 3, "epoch": 2, "batch": 0})
    assert first.epoch == second.epoch == 2
    assert same(first, second)


def test_manual_seed_in_the_middle_of_an_epoch_leaves_its_loop_alone():
    """A loop that runs goes on in its order and ends its epoch."""
    loader, order = make(), []
    for _, y in loader:
        manual_seed(0)
        order += y.tolist()
    assert order == make().order(0).tolist() and loader.epoch == 1


def test_a_pair_of_arrays_comes_as_it_is():
    """Inputs as float32; targets as int64 or float32, by what they are."""
    x, y = np.random.default_rng(0).normal(size=(10, 3)), np.arange(10, dtype=np.uint8)
    out = list(DataLoader((x, y), 4))
    assert all(u.dtype == np.float32 and v.dtype == np.int64 for u, v in out)
    np.testing.assert_array_equal(np.concatenate([u for u, _ in out]), x.astype(np.float32))
    [(_, targets)] = DataLoader((x, x[:, 0]), 10)
    assert targets.dtype == np.float32


def test_numpy_scalars_are_taken_for_numbers():
    """They give the same batches, and a state of Python's numbers."""
    loader = make(batch_size=np.int64(4), shuffle=np.True_, seed=np.uint64(3), drop_last=np.False_)
    assert same(loader, make())
    assert {type(v) for v in loader.state_dict().values()} == {int, bool}


def test_a_transform_reaches_a_pair_too():
    """Arrays are transformed as a data set is."""
    x = np.random.default_rng(0).random((8, 1, 4, 4))
    [(out, _)] = DataLoader([x, np.zeros(8, int)], 8, transform=compose(random_flip(1)))
    np.testing.assert_array_equal(out, x.astype(np.float32)[..., ::-1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dataset": (np.zeros((3, 2)), np.zeros(4, int))}, r"x \(3, 2\) and y \(4,\) must have the same length"),
        ({"dataset": (np.zeros(3), np.zeros(3), np.zeros(3))}, "must be a Dataset or a pair"),
        ({"dataset": "digits"}, "must be a Dataset or a pair .* got str"),
        ({"dataset": (np.array(["a"]), np.zeros(1))}, "must be numbers"),
        ({"dataset": (np.zeros((0, 2)), np.zeros(0, int))}, "0 samples give no batch"),
        ({"drop_last": True}, "23 samples give no batch, batch_size 128 with drop_last=True"),
        ({"batch_size": 0}, r"batch_size must be an integer of at least 1, got 0"),
        ({"dataset": DATA[:0]}, "0 samples give no batch"),
        ({"dataset": np.zeros((2, 3))}, "must be a Dataset or a pair .* got ndarray"),
        ({"dataset": [(np.zeros(3), 0), (np.zeros(3), 1)]}, "got samples in a list"),
        ({"dataset": ((np.zeros(3), 0), (np.zeros(3), 1))}, "got samples in a list"),
        ({"dataset": [[1.0, 2.0], [0, 1]]}, "got samples in a list"),
        ({"dataset": ([np.zeros(3), np.zeros(2)], np.zeros(2))}, "x must be an array, got samples of different"),
        ({"dataset": (np.zeros(1), np.array([2**63], np.uint64))}, r"y must be below 2\^63"),
        ({"dataset": (np.zeros(1, complex), np.zeros(1))}, "must be numbers, got complex128"),
        ({"batch_size": 2.5}, "batch_size must be an integer"),
        ({"batch_size": np.float64(2.5)}, "batch_size must be an integer"),
        ({"batch_size": True}, "batch_size must be an integer"),
        ({"shuffle": "no"}, "shuffle must be True or False, got 'no'"),
        ({"drop_last": 1}, "drop_last must be True or False, got 1"),
        ({"transform": 3}, "a transform must be a function .* got 3"),
        ({"transform": (random_flip(), None)}, "a transform must be a function .* got None"),
        ({"seed": 2**64}, "seed must be an integer"),
    ],
)
def test_what_does_not_fit_is_one_clear_error(arguments, message):
    """Arguments that make no loader are refused in a sentence."""
    with pytest.raises(ValueError, match=message) as error:
        DataLoader(**{"dataset": DATA, **arguments})
    assert "\n" not in str(error.value)
