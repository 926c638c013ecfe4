"""Import every module of the installed package: `python tests/import_all.py`. Prints how many there are."""

import importlib
import pkgutil
from importlib.resources import files

import lpnet

WITHOUT = ("lpnet.interop.torch", "lpnet.lab.page")  # they are about libraries that are not there
names = [m.name for m in pkgutil.walk_packages(lpnet.__path__, "lpnet.") if not m.name.endswith("__main__")]
names = [name for name in names if not name.startswith(WITHOUT)]
for name in names:
    importlib.import_module(name)
sources = [path for path in files("lpnet.kernels.cuda").iterdir() if path.name.endswith(".cu")]
assert len(sources) > 2 and all(
    "__global__" in path.read_text() or "__device__" in path.read_text() for path in sources
)
print(f"lpnet {lpnet.__version__}: {len(names)} modules import")
