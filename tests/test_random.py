"""Random bits: the generator against a plain one of its paper, streams, and what a checkpoint of one restores."""

import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpnet import random

WORD = 2**64 - 1


def philox(key, counter):
    """Return the four words of Philox4x64-10 (Salmon et al., SC 2011, section 5.3), in Python integers."""
    (k0, k1), (c0, c1, c2, c3) = key, counter
    for _ in range(10):
        p0, p1 = 0xD2E7470EE14C6C93 * c0, 0xCA5A826395121157 * c2
        c0, c1, c2, c3 = p1 >> 64 ^ c1 ^ k0, p1 & WORD, p0 >> 64 ^ c3 ^ k1, p0 & WORD
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & WORD, (k1 + 0xBB67AE8584CAA73B) & WORD
    return c0, c1, c2, c3


@pytest.mark.parametrize(("width", "dtype"), [(16, np.uint16), (8, np.uint8)])
@given(seed=st.integers(0, WORD), site=st.integers(0, 2**40), start=st.integers(0, 2**45), count=st.integers(0, 50))
def test_bits_are_a_function_of_position(width, dtype, seed, site, start, count):
    """Element i is lane i mod n of the n in block i // n of Philox, whatever part of the array is asked for."""
    expected, each = [], 64 // width  # lanes of a word
    for i in range(start, start + count):
        block, lane = divmod(i, 4 * each)
        word, place = divmod(lane, each)
        expected.append(philox((seed, 0), (block + 1, site, 0, 0))[word] >> width * place & 2**width - 1)
    lanes = random.bits(seed, site, start, start + count, width)
    assert lanes.dtype == dtype and lanes.tolist() == expected


def test_sites_seeds_and_hosts_differ():
    """Another site, another seed and a host generator of the same stream give other numbers."""
    drawn = [random.bits(1, 0, 0, 64), random.bits(1, 1, 0, 64), random.bits(2, 0, 0, 64)]
    host = random.Stream(1).generator().bit_generator.random_raw(16).view(np.uint16)
    assert len({a.tobytes() for a in [*drawn, host]}) == 4


@pytest.mark.parametrize("seed", [0, 2**63 + 1, WORD])
def test_a_generator_is_keyed_by_all_bits_of_the_seed(seed):
    """Its first words are those of Philox with key (seed, 1), at the site."""
    stream = random.Stream(seed)
    stream.take()
    assert tuple(stream.generator().bit_generator.random_raw(4).tolist()) == philox((seed, 1), (1, 1, 0, 0))


def test_a_restored_stream_goes_on():
    """A stream loaded from its state draws what the other draws next."""
    stream, other = random.Stream(5), random.Stream()
    stream.draw(10)
    other.load_state_dict(stream.state_dict())
    assert (stream.draw(100) == other.draw(100)).all()
    assert repr(other) == "Stream(seed=5, site=2)"


def test_a_subclass_draws_its_own_numbers_or_those_of_its_place():
    """Where `draw` is its own, 8-bit numbers are the upper bytes of that; else they are those of any stream."""

    class Counting(random.Stream):
        def draw(self, n):
            return np.arange(n, dtype=np.uint16) * 257 + 1

    class Named(random.Stream):
        pass

    assert random.draw(Counting(), 200, np, 8).tolist() == list(range(200))
    assert random.draw(Counting(), 2, np).tolist() == [1, 258]
    expected = random.bits(3, 0, 0, 40, 8).tolist()
    assert random.draw(Named(3), 40, np, 8).tolist() == expected == random.draw(random.Stream(3), 40, np, 8).tolist()


def test_fork_rng_takes_nothing():
    """Within `fork_rng`, draws come from elsewhere, always the same; afterwards the stream is where it was."""
    stream = random.Stream(5)
    drawn = []
    for _ in range(2):
        with random.fork_rng(3):
            drawn.append(random.current(stream).draw(8).tolist())
    assert stream.site == 0 and drawn[0] == drawn[1] == random.Stream(3).draw(8).tolist()
    with pytest.raises(RuntimeError), random.fork_rng():
        raise RuntimeError
    assert random.current(stream) is stream and random.current() is random.default


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, True, "1", None])
def test_seeds_out_of_range(seed):
    """A seed is an integer of 64 bits."""
    with pytest.raises(ValueError, match="Stream: seed must be an integer"):
        random.Stream(seed)


def test_no_site_is_taken_twice_by_threads():
    """What several threads take from one stream is every site once."""
    stream, taken, interval = random.Stream(1), [], sys.getswitchinterval()
    threads = [threading.Thread(target=lambda: taken.extend([stream.take() for _ in range(2000)])) for _ in range(4)]
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert sorted(taken) == [(1, i) for i in range(8000)]
