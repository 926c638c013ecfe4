"""Import every module of the installed package: `python tests/import_all.py`. Prints how many there are."""

import importlib
import pkgutil

import lpnet
from lpnet.backend import kernel_source

WITHOUT = {"lpnet.interop.torch"}  # it is about a library that is not installed with any extra
names = [m.name for m in pkgutil.walk_packages(lpnet.__path__, "lpnet.") if not m.name.endswith("__main__")]
names = [name for name in names if name not in WITHOUT]
for name in names:
    importlib.import_module(name)
assert "__global__" in kernel_source("quantize.cu") and "__global__" in kernel_source("windows.cu")
print(f"lpnet {lpnet.__version__}: {len(names)} modules import")
