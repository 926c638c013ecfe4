"""Whether training still gives the bits of an earlier commit: `python tests/same_bits.py --against REVISION`.

Five networks train in five precisions, on the CPU, with SWALP and BatchNorm re-estimation. Weights, averages and logs
are compared by digest, number for number. Without --against it prints the digests of the code as it is.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import lpnet as lp

NETWORKS = {
    "mlp": (1, 8, 8),
    "small_cnn": (1, 8, 8),
    "lenet": (1, 28, 28),
    "preresnet20": (3, 32, 32),
    "vgg16_bn": (3, 32, 32),
}
PRECISIONS = {
    "float": lambda: lp.Precision(),
    "bfp8": lambda: lp.Precision.uniform("bfp8"),
    "e4m3, nearest": lambda: lp.Precision.uniform("e4m3", "nearest"),
    "fixed": lambda: lp.Precision.parse("weight=fixed8.6,activation=fixed12.6,error=fixed16.14,gradient=fixed16.14"),
    "bfp4 with a wider copy": lambda: lp.Precision.parse(
        "weight=bfp4,activation=bfp6,error=e5m2,momentum=bfp8,accumulator=bfp16"
    ),
}


def train(network: str, precision: str) -> str:
    """Return a digest of all that four steps leave behind."""
    lp.manual_seed(3)
    shape, rounding, rng = NETWORKS[network], PRECISIONS[precision](), np.random.default_rng(0)
    pairs = rng.standard_normal((64, *shape), np.float32), rng.integers(0, 10, 64)
    loader = lp.data.DataLoader(pairs, 32, shuffle=True)
    model = lp.models.build(network, shape, 10)
    lp.nn.lower(model, rounding)
    optimizer = lp.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, precision=rounding)
    swalp = lp.optim.SWALP(model, optimizer, start=1, cycle=1, average="bfp16")
    log = lp.fit(model, loader, loader, epochs=2, optimizer=optimizer, swalp=swalp, progress=False)
    averaged = swalp.averaged
    lp.optim.update_bn(averaged, loader)
    digest = hashlib.sha256(json.dumps(log, sort_keys=True).encode())
    for state in (model.state_dict(), averaged.state_dict()):
        for name, array in state.items():
            digest.update(name.encode() + array.tobytes())
    return digest.hexdigest()[:16]


def digests() -> dict[str, str]:
    """Return {network in precision: digest}."""
    return {f"{network} in {precision}": train(network, precision) for network in NETWORKS for precision in PRECISIONS}


def earlier(revision: str) -> dict[str, str]:
    """Return the digests of another commit, checked out beside this one."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        subprocess.run(["git", "worktree", "add", "-q", "--detach", str(tree), revision], check=True)
        try:
            (tree / "lpnet" / "models").symlink_to(tree / "models")  # not those of an installation
            run = [sys.executable, str(Path(__file__).resolve())]
            found = subprocess.run(run, env={**os.environ, "PYTHONPATH": str(tree)}, check=True, stdout=subprocess.PIPE)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], check=True)
    return json.loads(found.stdout)


def main() -> int:
    """Print the digests, or compare them; return 1 if any differs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--against", metavar="REVISION", help="a commit to compare with")
    revision = parser.parse_args().against
    now = digests()
    if revision is None:
        print(json.dumps(now, indent=2))
        return 0
    then = earlier(revision)
    for name in now:
        print(f"{name:40} {now[name]} {'as before' if now[name] == then[name] else 'differs from ' + then[name]}")
    return int(now != then)


if __name__ == "__main__":
    sys.exit(main())
