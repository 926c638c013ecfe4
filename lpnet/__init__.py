"""lpnet: low-precision training of small neural networks, from scratch in NumPy, bit by bit.

    import lpnet as lp

Start with `lp.quantize(x, "bfp8")`, go on with `lp.nn`, `lp.optim.SWALP` and `lp.fit`; examples/ has walkthroughs.
"""

from . import (
    data,
    distributed,
    formats,
    functions,
    interop,
    models,
    nn,
    optim,
    plots,
    precision,
    random,
    recipes,
    rounding,
)
from ._explain import explain
from ._gradcheck import gradcheck
from ._summary import summary
from ._trace import trace
from ._watch import watch
from .accumulator import Accumulator
from .backend import (
    cuda_available,
    cuda_problem,
    empty_cache,
    get_array_module,
    get_num_threads,
    set_num_threads,
    to_device,
)
from .checkpoint import load, save
from .classifier import load_model
from .formats import BlockFloatingPoint, BlockScaled, FixedPoint, FloatingPoint, Format, Table, format
from .kernels import quantize
from .pertensor import PerTensor
from .precision import Precision, Quantizer, use
from .products import Operand, Products
from .random import manual_seed
from .rounding import Stochastic
from .sweeps import sweep
from .tensor import Function, Parameter, Tensor, no_grad
from .training import evaluate, fit
from .version import __version__

__all__ = [
    "Accumulator",
    "BlockFloatingPoint",
    "BlockScaled",
    "FixedPoint",
    "FloatingPoint",
    "Format",
    "Function",
    "Operand",
    "Parameter",
    "PerTensor",
    "Precision",
    "Products",
    "Quantizer",
    "Stochastic",
    "Table",
    "Tensor",
    "__version__",
    "cuda_available",
    "cuda_problem",
    "data",
    "distributed",
    "empty_cache",
    "evaluate",
    "explain",
    "fit",
    "format",
    "formats",
    "functions",
    "get_array_module",
    "get_num_threads",
    "gradcheck",
    "interop",
    "load",
    "load_model",
    "manual_seed",
    "models",
    "nn",
    "no_grad",
    "optim",
    "plots",
    "precision",
    "quantize",
    "random",
    "recipes",
    "rounding",
    "save",
    "set_num_threads",
    "summary",
    "sweep",
    "to_device",
    "trace",
    "use",
    "watch",
]
