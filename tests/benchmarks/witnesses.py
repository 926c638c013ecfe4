"""Other people's numbers beside lpnet's, bit for bit: `python -m tests.benchmarks.witnesses`.

Needs torch, gfloat, torchao, fouroversix and Microsoft's microxcaling (github.com/microsoft/microxcaling, its folder in
PYTHONPATH); what is not installed is left out and said so. Prints how many numbers differ; the exit code is 1 if any
does.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import lpnet as lp

from .products import microxcaling_products

MX = {
    "mxfp8_e4m3": "fp8_e4m3",
    "mxfp8_e5m2": "fp8_e5m2",
    "mxfp6_e3m2": "fp6_e3m2",
    "mxfp6_e2m3": "fp6_e2m3",
    "mxfp4_e2m1": "fp4_e2m1",
    "mxint8": "int8",
}
P3109 = ["k3p2sf", "k4p2sf", "k6p3sf", "k6p4sf", "k8p1se", "k8p3se", "k8p3sf", "k8p4se", "k8p4sf", "k8p7sf", "k16p8se"]
Found = Iterator[tuple[str, int]]  # what was compared, and how many numbers differ


def numbers(shape: tuple[int, ...]) -> np.ndarray:
    """Return numbers whose blocks have many sizes."""
    rng = np.random.default_rng(0)
    sizes = np.exp2(rng.uniform(-10, 10, (shape[0], *[1] * (len(shape) - 1))))
    return (rng.standard_normal(shape) * sizes).astype(np.float32)


def differ(a: np.ndarray, b: np.ndarray) -> int:
    """Return how many numbers of two arrays differ; NaN equals NaN."""
    return int(np.count_nonzero((a != b) & ~(np.isnan(a) & np.isnan(b))))


def gfloat() -> Found:
    """IEEE P3109: the numbers of all codes, and rounding to nearest with and without saturation."""
    peer, its = importlib.import_module("gfloat"), importlib.import_module("gfloat.formats")
    x = numbers((400, 64)).astype(np.float64)
    for name in P3109:
        fmt = lp.format(f"p3109_{name}")
        infinite, codes = name.endswith("e"), np.arange(2**fmt.bits)
        domain = its.Domain.Extended if infinite else its.Domain.Finite
        twin = its.format_info_p3109(fmt.bits, fmt.man + 1, its.Signedness.Signed, domain)
        values = np.array([peer.decode_float(twin, int(code)).fval for code in codes])
        yield f"{name}, codes", differ(fmt.from_codes(codes.astype(np.uint64), x.dtype), values)
        for saturate in (True, False):
            own = lp.FloatingPoint(fmt.exp, fmt.man, fmt.bias, saturate, fmt.specials)
            theirs = peer.round_ndarray(twin, x, peer.RoundMode.TiesToEven, sat=saturate)
            yield f"{name}, saturate={saturate}", differ(own.quantize(x), theirs)


def microxcaling() -> Found:
    """MX formats along the axis of the product: linear layers, images, ragged blocks."""
    torch, mx = importlib.import_module("torch"), importlib.import_module("mx.mx_ops")
    element = importlib.import_module("mx.formats").ElemFormat.from_str
    for name, theirs in MX.items():
        for shape, axis in (((4000, 64), -1), ((37, 50), -1), ((40, 100, 8, 8), 1), ((20, 3, 5, 5), 1)):
            x = numbers(shape)
            y = mx._quantize_mx(torch.tensor(x), 8, element(theirs), axes=[axis], block_size=32, round="even").numpy()
            yield f"{name} {shape}", differ(lp.quantize(x, name), y)


def torchao() -> Found:
    """MX formats with scales by floor, even and ceil (RCEIL): scale codes and numbers."""
    torch, ao = importlib.import_module("torch"), importlib.import_module("torchao.prototype.mx_formats.mx_tensor")
    kinds = {"mxfp8_e4m3": torch.float8_e4m3fn, "mxfp8_e5m2": torch.float8_e5m2}
    modes = {"floor": "FLOOR", "even": "EVEN", "ceil": "RCEIL"}
    x = numbers((4000, 64))
    for name, dtype in kinds.items():
        for rule, mode in modes.items():
            scales, elements = ao.to_mx(torch.tensor(x), dtype, 32, getattr(ao.ScaleCalculationMode, mode))
            encoded = lp.format(f"{name}:{rule}").encode(x)
            yield f"{name}:{rule}, scales", differ(encoded.scales, scales.view(torch.uint8).numpy().reshape(-1))
            yield f"{name}:{rule}, codes", differ(encoded.codes, elements.view(torch.uint8).numpy().reshape(-1))


def torchao_nvfp4() -> Found:
    """NVFP4 scales and codes. torchao multiplies by reciprocals: numbers next to a tie may differ, these are not."""
    torch, ao = importlib.import_module("torch"), importlib.import_module("torchao.prototype.mx_formats.nvfp4_tensor")
    x = np.random.default_rng(0).standard_normal((4000, 64)).astype(np.float32)
    tensor = torch.tensor(x)
    scales, codes = ao.nvfp4_quantize(tensor, 16, ao.per_tensor_amax_to_scale(tensor.abs().max()))
    encoded = lp.format("nvfp4").encode(x)
    yield "nvfp4, scales", differ(encoded.scales[4:], scales.view(torch.uint8).numpy().reshape(-1))  # float32 first
    yield "nvfp4, codes", differ(encoded.codes, codes.view(torch.uint8).numpy().reshape(-1))


def fouroversix() -> Found:
    """NVFP4 with blocks scaled to 6 and to 6 or 4: scales and elements, by reciprocals as above."""
    torch, its = importlib.import_module("torch"), importlib.import_module("fouroversix.quantize.pytorch.reference")
    rules, nearest = its.ScaleRule, its.RoundStyle.nearest
    x = np.random.default_rng(0).standard_normal((16000, 16)).astype(np.float32)
    blocks = torch.tensor(x)
    amax = blocks.abs().max()
    six, scales = its.quantize_to_nvfp4(blocks, amax, scale_rule=rules.static_6, round_style=nearest)
    yield from _nvfp4_differs("nvfp4", x, its.fake_quantize_to_e2m1(six), scales)
    of_six, of_four = (
        its.quantize_to_nvfp4(blocks, amax, scale_rule=rules.mse, round_style=nearest, scale_expansion_factor=factor)
        for factor in (None, 1.5)
    )
    yield from _nvfp4_differs("nvfp4:4/6", x, *its.select_fouroversix(blocks, *of_six, *of_four, amax))


def _nvfp4_differs(name: str, x: np.ndarray, elements: Any, scales: Any) -> Found:
    fmt = lp.format(name)
    block, whole = fmt.block_scales(x)
    yield f"{name}, scales", differ(block.ravel(), scales.float().numpy().ravel())
    mine = fmt.elements(x, (block * whole).astype(np.float32), "nearest", None)
    yield f"{name}, elements", differ(mine, elements.float().numpy())


WITNESSES: tuple[Callable[[], Found], ...] = (
    gfloat,
    microxcaling,
    microxcaling_products,
    torchao,
    torchao_nvfp4,
    fouroversix,
)


def main() -> int:
    """Print every comparison; return 1 if any number differs."""
    wrong: Any = 0
    for witness in WITNESSES:
        try:
            for what, count in witness():
                print(f"{witness.__name__:22} {what:36} {count} differ", flush=True)
                wrong += count
        except ImportError as error:
            print(f"{witness.__name__:22} left out: {error}", flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
