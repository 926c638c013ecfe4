"""Every one of the 2^32 float32 patterns, rounded to nearest, against ml_dtypes: minutes for a format.

python -m tests.formats.exhaustive              all of them, a line each
python -m tests.formats.exhaustive e4m3 bf16    some
"""

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from .witness import WITNESSES, differences

CHUNK = 2**19  # patterns at a time: what one thread works on stays in its cache


def main(argv=None):
    """Run the command; returns 1 if anything differs."""
    parser = argparse.ArgumentParser(description="Compare formats with ml_dtypes on all float32 patterns.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(WITNESSES)}; default: all")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args(argv)
    if unknown := set(arguments.names) - set(WITNESSES):
        parser.error(f"unknown: {', '.join(unknown)}")
    return max([compare(name, arguments.threads) for name in arguments.names or WITNESSES])


def compare(name, threads):
    """Print how many patterns differ and how long it took; returns 1 if any does, else 0."""
    start = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        wrong = sum(pool.map(lambda first: differences(name, patterns(first)), range(0, 2**32, CHUNK)))
    print(f"{name:10} 2^32 patterns  {wrong:10} differences  {time.perf_counter() - start:6.0f} s", flush=True)
    return int(wrong > 0)  # NumPy's truth values are no exit status


def patterns(first):
    """Return CHUNK float32 numbers, of consecutive bit patterns."""
    return np.arange(first, first + CHUNK, dtype=np.uint32).view(np.float32)


if __name__ == "__main__":
    sys.exit(main())
