"""A strict stand-in for CuPy, for machines without a GPU: NumPy behind CuPy's manners. For tests only.

- What there is, and which keywords it takes, is as recorded from CuPy itself (surface.txt, made by record.py).
- Host arrays and lists are refused where CuPy refuses them, and so is NumPy called on device arrays.
- Whatever would wait for the GPU is counted in `waits`, and fails within `no_waiting()`.
- Arrays are never scalars; fresh memory is full of NaN or large numbers; kernels run as host code.

It says nothing about speed, races, asynchronous errors, the GPU's exp and log, or the order of its sums.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import operator
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from . import host

_SURFACE: dict[str, tuple[str, frozenset[str]]] = {}
for _line in Path(__file__).with_name("surface.txt").read_text(encoding="utf-8").splitlines()[1:]:
    _kind, _name, *_parameters = _line.split()
    _SURFACE[_name] = _kind, frozenset(_parameters)

_FROM_HOST = {"asarray", "array", "ascontiguousarray"}  # take arrays and lists of the host
_WAITING = {"nonzero", "argwhere", "flatnonzero", "unique", "array_equal", "allclose", "extract", "compress"}
_WRITING = {"copyto", "put", "fill", "sort", "partition"}  # into their first argument
_AT = {"add", "subtract", "maximum", "minimum", "bitwise_and", "bitwise_or", "bitwise_xor"}
_NO_WHERE = ("where", "initial")  # of reductions; in the signatures of none of CuPy's

waits: list[str] = []  # what has waited for the GPU
_forbidden = False


class HiddenWait(AssertionError):
    """Something waited for the GPU where nothing may."""


@contextlib.contextmanager
def no_waiting() -> Iterator[None]:
    """Have whatever would wait for the GPU fail within this block."""
    global _forbidden
    before, _forbidden = _forbidden, True
    try:
        yield
    finally:
        _forbidden = before


def _wait(reason: str) -> None:
    if _forbidden:
        raise HiddenWait(f"{reason} waits for the GPU")
    waits.append(reason)


devices = 1  # that this process sees
used: set[int] = set()  # those that were asked for something
_thread = threading.local()


class Device:
    """A GPU; CUDA begins each thread on the first."""

    compute_capability = "host"

    def __init__(self, device: int | None = None) -> None:
        self.id = getattr(_thread, "device", 0) if device is None else device
        if not 0 <= self.id < devices:
            raise RuntimeError("cudaErrorInvalidDevice: invalid device ordinal")

    def use(self) -> None:
        """Have this thread use it."""
        _thread.device = self.id

    @property
    def pci_bus_id(self) -> str:
        """As CUDA writes it."""
        return f"0000:{self.id:02X}:00.0"


launches = 0  # what the GPUs were asked for, one by one


def _ask() -> None:
    global launches
    launches += 1
    used.add(Device().id)


_tape: list[Callable[[], Any]] | None = None  # what is being recorded
_written: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # arrays that the recording wrote into, as they were before


def _new(compute: Callable[[], Any], base: Any = None) -> Any:
    """Return what the GPU computes; what is recorded is computed again, into the same arrays, when it is played."""
    value = compute()
    if base is not None and _shares(value, base):
        return _wrap(value, base)
    _ask()
    result = _wrap(value, base)
    if _tape is not None:
        _tape.append(lambda: _refill(result, compute()))
    return result


def _refill(result: Any, value: Any) -> None:
    if isinstance(result, ndarray):
        result.host[...] = value
    elif isinstance(result, tuple | list):
        for one, its in zip(result, value, strict=True):
            _refill(one, its)


def _into(target: Any, write: Callable[[], Any]) -> None:
    """Have the GPU write into an array."""
    _ask()
    if _tape is not None:
        _written.setdefault(id(target.host), (target.host, target.host.copy()))
        _tape.append(write)
    write()


def _wrap(value: Any, base: Any = None) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        array = object.__new__(ndarray)
        array.host = np.asarray(value)
        array.base = (base if base.base is None else base.base) if base is not None and _shares(value, base) else None
        return array
    if isinstance(value, tuple | list):
        return type(value)(_wrap(v, base) for v in value)
    return value


def _shares(value: Any, base: Any) -> bool:
    return isinstance(value, np.ndarray) and value.size > 0 and np.may_share_memory(value, base.host)


def _open(value: Any, from_host: bool = False) -> Any:
    """Return what NumPy is to compute with; refuse arrays of the host."""
    if isinstance(value, ndarray):
        return value.host
    if isinstance(value, np.ndarray) and not from_host:
        raise TypeError(f"Unsupported type {type(value)}")
    if isinstance(value, tuple | list):
        return type(value)(_open(v, from_host) for v in value)
    return value


def _operand(value: Any) -> Any:
    if not isinstance(value, ndarray | bool | int | float | complex | np.generic):
        raise TypeError(f"Unsupported type {type(value)}")
    return _open(value)


def _check_keywords(name: str, keywords: dict[str, Any]) -> None:
    known = _SURFACE[name][1]
    if "**" not in known and (unknown := set(keywords) - known):
        raise TypeError(f"{name}() got an unexpected keyword argument {min(unknown)!r}")
    if used := [k for k in _NO_WHERE if k in keywords]:
        raise TypeError(f"{name}() got an unexpected keyword argument {used[0]!r}")


class ndarray:
    """An array on the GPU that is not there."""

    __array_ufunc__ = None
    __hash__ = None
    __slots__ = ("__weakref__", "base", "host")  # nothing else can be set on CuPy's either

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a "
            "NumPy array explicitly."
        )

    def __array_function__(self, function: Any, *_: Any) -> Any:
        raise TypeError(f"numpy.{function.__name__} called on an array of the GPU")

    def get(self, **_: Any) -> np.ndarray:
        _wait("get()")
        return self.host.copy()

    def item(self, *args: int) -> Any:
        _wait("item()")
        return self.host.item(*args)

    def tolist(self) -> Any:
        _wait("tolist()")
        return self.host.tolist()

    def __float__(self) -> float:
        _wait("float()")
        return float(self.host)

    def __int__(self) -> int:
        _wait("int()")
        return int(self.host)

    def __index__(self) -> int:
        _wait("an index")
        return operator.index(self.host)

    def __bool__(self) -> bool:
        _wait("bool()")
        return bool(self.host)

    def __len__(self) -> int:
        return len(self.host)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        _wait("repr()")
        return repr(self.host)

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        _wait("format()")
        return format(self.host.item() if spec else self.host, spec)

    def __reduce__(self) -> Any:
        return asarray, (self.get(),)

    def __deepcopy__(self, _: Any) -> Any:
        return _wrap(self.host.copy())

    def __getitem__(self, key: Any) -> Any:
        return _wrap(self.host[_key(key)], self)

    def __setitem__(self, key: Any, value: Any) -> None:
        place, value = _key(key), _operand(value)
        _into(self, lambda: self.host.__setitem__(place, value))

    def set(self, a: np.ndarray) -> None:
        """Write an array of the host into this one: no part of a recording."""
        assert _tape is None
        self.host[...] = a

    @property
    def data(self) -> Any:
        return types.SimpleNamespace(ptr=self.host.ctypes.data)

    @property
    def T(self) -> Any:
        return _wrap(self.host.T, self)

    def __getattr__(self, name: str) -> Any:
        kind, _ = _SURFACE.get(f"ndarray.{name}", ("", None))
        if not kind:
            raise AttributeError(f"'ndarray' object has no attribute {name!r}")
        value = getattr(self.host, name)
        if not callable(value):
            return _wrap(value, self) if isinstance(value, np.ndarray) else value

        def method(*args: Any, **keywords: Any) -> Any:
            _check_keywords(f"ndarray.{name}", keywords)
            if name in _WAITING:
                _wait(name)
            out, inputs, others = keywords.get("out"), _open(args), {k: _open(v) for k, v in keywords.items()}
            target = self if name in _WRITING else out
            if target is None:
                return _new(lambda: value(*inputs, **others), self)
            _into(target, lambda: value(*inputs, **others))
            return out

        return method


def _key(key: Any) -> Any:
    for part in key if isinstance(key, tuple) else (key,):
        if getattr(getattr(part, "dtype", None), "kind", "") == "b" and part.ndim:
            _wait("a boolean mask")
    return _open(key, from_host=True)


def _operator(name: str) -> Callable[..., Any]:
    def method(self: ndarray, *others: Any) -> Any:
        function, operands = getattr(self.host, name), [_operand(other) for other in others]
        if not name.startswith("__i") or name == "__invert__":
            return _new(lambda: function(*operands))
        _into(self, lambda: function(*operands))
        return self

    return method


_BINARY = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift")
for _name in _BINARY:
    for _form in ("__{}__", "__r{}__", "__i{}__"):
        setattr(ndarray, _form.format(_name), _operator(_form.format(_name)))
for _name in ("neg", "pos", "abs", "invert", "lt", "le", "gt", "ge", "eq", "ne"):
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__"))


class _Ufunc:
    def __init__(self, name: str) -> None:
        self.name, self.function = name, getattr(np, name)

    def __call__(self, *args: Any, out: Any = None, dtype: Any = None, casting: Any = "same_kind") -> Any:
        inputs = [_operand(a) for a in args]
        outs = {} if out is None else {"out": _open(out)}

        def compute() -> Any:
            with np.errstate(all="ignore"):  # a GPU has no warnings
                return self.function(*inputs, dtype=dtype, casting=casting, **outs)

        if out is None:
            return _new(compute)
        _into(out, compute)
        return out

    def at(self, a: Any, indices: Any, b: Any = None) -> None:
        if self.name not in _AT:
            raise NotImplementedError(f"`cupy_{self.name}.at` is not supported yet")
        places, numbers = _key(indices), _operand(b)
        _into(a, lambda: self.function.at(a.host, places, numbers))

    def reduce(self, a: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        if self.name not in ("add", "multiply"):
            raise NotImplementedError(f"`cupy_{self.name}.reduce` is not supported yet")
        return _new(lambda: self.function.reduce(_open(a), axis=axis, dtype=dtype, keepdims=keepdims))


def _function(name: str) -> Callable[..., Any]:
    from_host, numpys = name in _FROM_HOST, getattr(np, name)

    def function(*args: Any, **keywords: Any) -> Any:
        _check_keywords(name, keywords)
        if name in _WAITING or (name == "where" and len(args) == 1):
            _wait(name)
        out = keywords.get("out")
        inputs, keywords = _open(args, from_host), {k: _open(v, from_host) for k, v in keywords.items()}
        base = next((a for a in args if isinstance(a, ndarray)), None)

        def compute() -> Any:
            with np.errstate(all="ignore"):
                return numpys(*inputs, **keywords)

        target = args[0] if name in _WRITING else out
        if target is not None:
            _into(target, compute)
            return target
        result = _new(compute, base)
        return base if isinstance(result, ndarray) and base is not None and result.host is base.host else result

    return function


def __getattr__(name: str) -> Any:
    kind, _ = _SURFACE.get(name, ("", None))
    if not kind:
        raise AttributeError(f"module 'cupy' has no attribute {name!r}")
    return {"ufunc": _Ufunc, "function": _function, "value": lambda name: getattr(np, name)}[kind](name)


memory: int | None = None  # bytes that one array may have; None: any number


class OutOfMemoryError(MemoryError):
    """As CuPy has it."""


def _fresh(shape: Any, dtype: Any) -> Any:
    """Return memory in which nobody has written zeros."""
    sizes = (shape,) if isinstance(shape, int | np.integer) else tuple(shape)
    nbytes = math.prod(sizes) * np.dtype(dtype).itemsize
    if memory is not None and nbytes > memory:
        raise OutOfMemoryError(f"Out of memory allocating {nbytes:,} bytes (allocated so far: 0 bytes).")
    array = np.empty(sizes, dtype)
    array.fill(np.nan if array.dtype.kind == "f" else 0 if array.dtype.kind == "b" else 77)
    if _tape is not None:
        _tape.append(array.shape.__len__)  # does nothing, and keeps the array
    return array


def empty(shape: Any, dtype: Any = float, order: str = "C") -> Any:
    return _wrap(_fresh(shape, dtype))


def empty_like(a: Any, dtype: Any = None) -> Any:
    return empty(a.shape, dtype or a.dtype)


def zeros(shape: Any, dtype: Any = float, order: str = "C") -> Any:
    array = empty(shape, dtype)
    array.fill(0)
    return array


def asarray(a: Any, dtype: Any = None, order: Any = None, *, blocking: bool = False) -> Any:
    if isinstance(a, ndarray) and dtype in (None, a.host.dtype):
        return a
    if isinstance(a, ndarray):
        return _new(lambda: a.host.astype(dtype))
    _fresh(np.shape(a), dtype or getattr(a, "dtype", float))  # is there room
    return _wrap(np.array(_open(a), dtype) if not isinstance(a, np.ndarray) else np.array(a, dtype))


def matmul(a: Any, b: Any, out: Any = None) -> Any:
    left, right = _open(a), _open(b)
    if out is None:
        return _new(lambda: np.matmul(left, right))
    _into(out, lambda: np.matmul(left, right, out=out.host))
    return out


def result_type(*args: Any) -> np.dtype:
    return np.result_type(*(_open(a) for a in args))


def is_available() -> bool:
    return True


def asnumpy(a: Any) -> np.ndarray:
    return a.get() if isinstance(a, ndarray) else np.asarray(a)


class RawModule:
    """Kernels of CUDA source, built for the host."""

    def __init__(self, *, path: str) -> None:
        self.library = ctypes.CDLL(path)

    def get_function(self, name: str) -> Callable[..., None]:
        function = getattr(self.library, f"{name}_host")

        def launch(grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...], shared_mem: int = 0) -> None:
            sizes = [ctypes.c_uint(size) for size in (*grid, *block)]
            own, kept = [_argument(a) for a in args], args  # the arrays themselves, too, while they are recorded
            launched(lambda: kept and function(*sizes, *own))

        return launch


def launched(work: Callable[[], Any]) -> None:
    """Do work that writes into fresh arrays only, and record it."""
    _ask()
    if _tape is not None:
        _tape.append(work)
    work()


class Graph:
    """What was recorded, done again by one launch."""

    def __init__(self, tape: list[Callable[[], Any]]) -> None:
        self.tape = tape

    def launch(self) -> None:
        """Do it."""
        _ask()
        for work in self.tape:
            work()


class Stream:
    """A stream of the GPU; what is recorded in one is done as well, to know its shapes, and undone at its end."""

    ptr = 1

    def __enter__(self) -> Stream:
        global _stream
        self.outer, _stream = _stream, self
        return self

    def __exit__(self, *_: object) -> None:
        global _stream
        _stream = self.outer

    def begin_capture(self, mode: int) -> None:
        """Record from now on."""
        global _tape
        _tape = []

    def end_capture(self) -> Graph:
        """Return what was recorded."""
        global _tape
        for array, before in _written.values():
            array[...] = before
        _written.clear()
        tape, _tape = _tape, None
        return Graph(tape)


_stream: Any = types.SimpleNamespace(ptr=0)


_C = {
    "f4": ctypes.c_float,
    "f8": ctypes.c_double,
    "i4": ctypes.c_int,
    "i8": ctypes.c_longlong,
    "u8": ctypes.c_ulonglong,
}


def _argument(value: Any) -> Any:
    if isinstance(value, ndarray):
        assert value.host.flags.c_contiguous, "a kernel got an array that is not contiguous"
        return ctypes.c_void_p(value.host.ctypes.data)
    if not isinstance(value, np.generic):
        raise TypeError(f"a kernel takes arrays and NumPy scalars of its types, got {type(value)}")
    return _C[value.dtype.str[1:]](value.item())


def _view(name: str) -> Callable[..., Any]:
    function = getattr(np.lib.stride_tricks, name)
    return lambda x, *args, **keywords: _wrap(function(_open(x), *args, **keywords), x)


lib = types.SimpleNamespace(
    stride_tricks=types.SimpleNamespace(
        as_strided=_view("as_strided"), sliding_window_view=_view("sliding_window_view")
    )
)
cuda = types.SimpleNamespace(
    Stream=Stream,
    get_current_stream=lambda: _stream,
    MemoryPool=lambda: types.SimpleNamespace(malloc=None),
    using_allocator=contextlib.nullcontext,
    runtime=types.SimpleNamespace(streamCaptureModeRelaxed=2, getDeviceCount=lambda: devices),
    nvrtc=types.SimpleNamespace(getVersion=lambda: ("stand-in", host.HEADER.read_text(encoding="utf-8"))),
    Device=Device,
    compiler=types.SimpleNamespace(
        compile_using_nvrtc=lambda source, options: (host.build(source, options).read_bytes(), None)
    ),
)
__version__ = "stand-in"
