"""The site: `make docs` builds it from the guides here, the chapters in examples/ and the docstrings, offline."""

import re
from importlib import import_module
from inspect import isroutine
from pathlib import Path
from types import GenericAlias

from docutils.nodes import Node
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.ext.autosummary import Autosummary

import lpnet

project, author, copyright = "lpnet", "the authors of lpnet", "the authors of lpnet, MIT licence"
version = release = lpnet.__version__
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "matplotlib.sphinxext.plot_directive",
    "myst_parser",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build"]
suppress_warnings = ["sphinx_gallery.duplicate_filename"]  # a solution is called as its chapter
default_role = "literal"  # a word in backquotes is code, as in Markdown
nitpick_ignore_regex = [("py:.*", "(?!lpnet).*")]

html_theme = "furo"
html_title = f"lpnet {version}"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_copy_source = html_show_sphinx = False
pygments_style, pygments_dark_style = "friendly", "monokai"

myst_heading_anchors = 3
myst_links_external_new_tab = False

plot_include_source, plot_html_show_source_link, plot_html_show_formats = True, False, False
plot_formats = [("svg", 100)]
plot_pre_code = "import numpy as np\nimport matplotlib.pyplot as plt\nplt.style.use('lpnet.slides')\n"

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "walkthrough",
    "ignore_pattern": r"(^|/)\D[^/]*\.py$",
    "filename_pattern": r"/\d\d_\w+\.py$",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "capture_repr": (),  # what a chapter prints, and nothing else
    "image_srcset": ["2x"],
    "min_reported_time": 1e9,
    "remove_config_comments": True,
    "show_signature": False,
    "write_computation_times": False,
}

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "exclude-members": "__init__, __new__"}
python_maximum_signature_line_length = 100
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False
# All checks but those of what a sentence says as well here: parameters, results, errors, examples, other names.
numpydoc_validation_checks = {"all", "ES01", "EX01", "PR01", "RT01", "SA01", "YD01"}

# Links of files of the repository that are pages, or parts of pages, here.
PAGES = {
    r"(\.\./)*examples/(\d\d_\w+)\.py": r"/walkthrough/\2.rst",
    r"(\.\./)*docs/": "/",
    r"(\.\./)*(lpnet/)?formats/README\.md": "/guides/contract.md",
    r"(\.\./)*lpnet/README\.md": "/guides/inside.md",
    r"(\.\./)*CONTRIBUTING\.md": "/contributing.md",
    r"(\.\./)*examples/swalp/RESULTS\.md": "/results.md",
}


def to_solutions(app: Sphinx, page: str, content: list[str]) -> None:
    """Let a chapter lead to the solutions of its exercises."""
    if page.startswith("walkthrough/"):
        content[0] = re.sub(r"`(solutions/(\d\d)_\w+\.py)`", r":ref:`\1 <solution-\2>`", content[0])


def to_pages(app: Sphinx, path: Path, parent: str, content: list[str]) -> None:
    """Let the links of an included file lead to pages of the site."""
    for file, page in PAGES.items():
        content[0] = re.sub(rf"\]\({file}", f"]({page}", content[0])


class Names(Autosummary):
    """A table of public names, then an entry for each: `.. names::`, and a name a line, as in `nn.Linear`."""

    def run(self) -> list[Node]:
        """Return the table and the entries."""
        self.env.ref_context.pop("py:module", None)  # names are whole, whatever module the page has spoken of
        names = [f"lpnet.{name.strip()}" for name in self.content]
        self.content = StringList([f"~{name}" for name in names])
        entries = (f".. auto{kind(name)}:: {name}\n" for name in names)
        return [*super().run(), *self.parse_text_to_nodes("\n".join(entries))]


def kind(name: str) -> str:
    """Return what autodoc calls the public object of a dotted name."""
    module, _, last = name.rpartition(".")
    value = getattr(import_module(module), last)
    return "data" if isinstance(value, GenericAlias) else "function" if isroutine(value) else "class"


def setup(app: Sphinx) -> None:
    """Tell Sphinx of the three."""
    app.connect("source-read", to_solutions)
    app.connect("include-read", to_pages)
    app.add_directive("names", Names)
