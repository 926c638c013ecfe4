"""The guides' code runs, and where QPyTorch is installed gives what its code beside it gives."""

import pathlib
import re

import numpy as np
import pytest

import lpnet as lp

GUIDES = pathlib.Path(__file__).parent.parent.parent / "docs" / "guides"
BLOCK = re.compile(r"```python( qtorch)?\n(.*?)```", re.DOTALL)
AGREE = ("a", "b", "c", "y", "g")  # what both sides compute with rounding to nearest


def blocks(name):
    """Return (whether it is QPyTorch's, code) of every block of a guide."""
    return [(bool(theirs), code) for theirs, code in BLOCK.findall((GUIDES / name).read_text(encoding="utf-8"))]


def test_every_call_of_qpytorch_has_ours_beside_it():
    """Blocks come in pairs, QPyTorch's first, but for none."""
    sides = [theirs for theirs, _ in blocks("qpytorch.md")]
    assert sides == [True, False] * (len(sides) // 2) and sides


def test_coming_from_qpytorch():
    """Our code of the page runs from top to bottom, and compares with QPyTorch's where that can be had."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: the page on QPyTorch is not run")
    try:
        import qtorch
    except Exception:  # it compiles itself when it is imported
        qtorch = None
    ours, theirs = {}, {}
    for is_theirs, code in blocks("qpytorch.md"):
        torch.manual_seed(0)  # both draw the same weights
        if not is_theirs:
            exec(code, ours)
        elif qtorch is not None:
            exec(code, theirs)
        for name in AGREE:
            if not is_theirs and name in theirs and name in ours:
                assert torch.equal(ours[name], theirs[name]), f"{name} after {code}"
    assert {*AGREE, "d", "accumulated"} <= ours.keys()


def test_files(tmp_path):
    """The code of the page on files runs from top to bottom."""
    for name in ("safetensors", "onnx", "tensorboardX"):
        pytest.importorskip(name, reason=f"{name} is not installed: the page on files is not run")
    train, _ = lp.data.load("digits")
    run = tmp_path / "run"
    model = lp.models.small_cnn(10, 1, 8)
    optimizer = lp.optim.SGD(model.parameters(), lr=0.1)
    few = lp.data.Dataset(train.images[:64], train.labels[:64])
    lp.fit(model, lp.data.DataLoader(few, 32), epochs=1, optimizer=optimizer, out=run, progress=False)
    names = {
        "classes": 10,
        "channels": 1,
        "size": 8,
        "file": tmp_path / "file",
        "run_folder": run,
        "logdir": tmp_path / "board",
    }
    for _, code in blocks("files.md"):
        exec(code, names)
    from onnx.reference import ReferenceEvaluator

    x = np.zeros((2, 1, 8, 8), np.float32)
    expected = names["model"].eval()(lp.Tensor(x)).numpy()
    (y,) = ReferenceEvaluator(str(tmp_path / "file")).run(None, {"input": x})
    np.testing.assert_allclose(y, expected, atol=1e-5)


@pytest.mark.parametrize("guide", [path.name for path in sorted(GUIDES.glob("*.md"))])
def test_links_lead_somewhere(guide):
    """Every relative link is a file of the repository."""
    for link in re.findall(r"\]\((?!http)(.*?)\)", (GUIDES / guide).read_text(encoding="utf-8")):
        if "walkthrough/" not in link:  # made by `make docs`, which checks all links
            assert (GUIDES / link.partition("#")[0]).exists(), link
