"""The site: `make docs` builds it from the guides here, the chapters in examples/ and the docstrings, offline."""

import re
from hashlib import sha256
from importlib import import_module
from inspect import isroutine
from pathlib import Path
from typing import ClassVar

import matplotlib.pyplot as plt
import numpy as np
from docutils.nodes import Node, image
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.ext.autosummary import Autosummary
from sphinx.util.docutils import SphinxDirective

import lpnet

project, author, copyright = "lpnet", "the authors of lpnet", "the authors of lpnet, MIT licence"
version = release = lpnet.__version__
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "myst_parser",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build"]
suppress_warnings = ["sphinx_gallery.duplicate_filename"]  # a solution is called as its chapter
default_role = "literal"  # a word in backquotes is code, as in Markdown
smartquotes = False  # quotes in docstrings are code

html_theme = "furo"
html_title = f"lpnet {version}"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_copy_source = html_show_sphinx = False
pygments_style, pygments_dark_style = "friendly", "monokai"

myst_heading_anchors = 3
myst_links_external_new_tab = False

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
autodoc_typehints = "none"  # a signature on a line; what an argument is, the text says
python_maximum_signature_line_length = 100
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False
# All checks but those of what a sentence says as well here: parameters, results, errors, examples, other names.
numpydoc_validation_checks = {"all", "ES01", "EX01", "PR01", "RT01", "SA01", "YD01"}

# Links of files of the repository that are pages, or parts of pages, here.
PAGES = {
    r"(\.\./)*examples/(\d\d_\w+)\.py": r"/walkthrough/\2.rst",
    r"(\.\./)*examples/README\.rst": "/walkthrough/index.rst",
    r"(\.\./)*examples/solutions": "/solutions.rst",
    r"(\.\./)*docs/": "/",
    r"(\.\./)*(lpnet/)?formats/README\.md": "/guides/contract.md",
    r"(\.\./)*lpnet/README\.md": "/guides/inside.md",
    r"(\.\./)*CONTRIBUTING\.md": "/contributing.md",
    r"(\.\./)*examples/swalp/RESULTS\.md": "/results.md",
}


def in_chapters(app: Sphinx, page: str, content: list[str]) -> None:
    """Number the chapters, in titles and in the gallery, and let each lead to the solutions of its exercises."""
    if chapter := re.fullmatch(r"walkthrough/(\d\d)_\w+", page):
        content[0] = re.sub(r"\n\n(.+)\n===", rf"\n\n{chapter[1]} \1\n======", content[0], count=1)
        content[0] = re.sub(r"`(solutions/(\d\d)_\w+\.py)`", r":ref:`\1 <solution-\2>`", content[0])
    elif page == "walkthrough/index":
        title = r'(:doc:`/walkthrough/(\d\d)_\w+`(?:.*\n)*? *<div class="sphx-glr-thumbnail-title">)'
        content[0] = re.sub(title, r"\1\2 ", content[0])


def to_pages(app: Sphinx, path: Path, parent: str, content: list[str]) -> None:
    """Let the links of an included file lead to pages of the site."""
    for file, page in PAGES.items():
        content[0] = re.sub(rf"\]\({file}", f"]({page}", content[0])


def without_ways_back(app: Sphinx, page: str, template: str, context: dict[str, str], doctree: object) -> None:
    """Take viewcode's links from a source to the reference out: they are wrong for a file of two modules' names."""
    if page.startswith("_modules/"):
        context["body"] = re.sub(r'<a class="viewcode-back".*?</a>', "", context["body"])


class Names(Autosummary):
    """A table of public names, then an entry for each: `.. names::`, and a name a line, as in `nn.Linear`."""

    def run(self) -> list[Node]:
        """Return the table and the entries."""
        self.env.ref_context.pop("py:module", None)  # names are whole, whatever module the page has spoken of
        names = [f"lpnet.{name.strip()}" for name in self.content]
        self.content = StringList([f"~{name}" for name in names])
        self.options["nosignatures"] = None
        entries = "\n".join(f".. auto{kind(name)}:: {name}\n{MEMBERS[kind(name)]}" for name in names)
        return [*super().run(), *self.parse_text_to_nodes(entries)]


HAVE_A_PAGE = "Module, Optimizer, Format, Function, Callback, Stream, Tensor"  # what they have is not told again
MEMBERS = {"class": f"   :members:\n   :inherited-members: {HAVE_A_PAGE}, dict, list\n", "function": ""}


def kind(name: str) -> str:
    """Return what autodoc calls the public object of a dotted name."""
    module, _, last = name.rpartition(".")
    value = getattr(import_module(module), last)
    return "function" if isroutine(value) else "class"


class Plot(SphinxDirective):
    """The picture that the code in it draws with `plt`; matplotlib's own directive is not for Markdown."""

    has_content = True
    option_spec: ClassVar = {"alt": str}

    def run(self) -> list[Node]:
        """Return the picture, drawn anew where the code is new."""
        code = "\n".join(self.content)
        path = f"_build/plots/{sha256(code.encode()).hexdigest()[:16]}.svg"
        if not (file := Path(self.env.srcdir, path)).exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            with plt.style.context("lpnet.slides"):
                exec(code, {"plt": plt, "np": np})
                plt.savefig(file)
                plt.close("all")
        return [image(uri=f"/{path}", alt=self.options["alt"])]


def setup(app: Sphinx) -> None:
    """Tell Sphinx of them."""
    app.connect("html-page-context", without_ways_back)
    app.connect("source-read", in_chapters)
    app.connect("include-read", to_pages)
    app.add_directive("names", Names)
    app.add_directive("plot", Plot)
