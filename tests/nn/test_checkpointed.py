"""nn.checkpointed: backward keeps the inputs of blocks and computes the rest anew, and no bit of training changes."""

import gc
import weakref

import numpy as np
import pytest

import lpnet as lp
from lpnet import functions as F
from lpnet import nn
from lpnet.distributed import batches as sharded
from lpnet.distributed import processes
from lpnet.models.preresnet import Block

PRECISIONS = {
    "float": None,
    "bfp8": "bfp8",
    "few random bits": lp.Precision.uniform("bfp8", lp.Stochastic(4)),
    "nearest": lp.Precision.uniform("e4m3", "nearest"),
    "mxfp8": lp.recipes.mxfp8,
    "nvfp4": lp.recipes.nvfp4,
    "delayed": lp.recipes.fp8_delayed,
}


class Branches(nn.Module):
    """A block whose input and weight are used more than once, in it and after it, with dropout."""

    def __init__(self):
        self.linear, self.drop = nn.Linear(6, 6), nn.Dropout(0.3)

    def forward(self, x):
        """Return a sum over paths."""
        return self.drop(F.relu(self.linear(x))) * x + self.linear(x * x)


class Network(nn.Module):
    """Convolutional blocks in a block, then one whose input is used beside it."""

    def __init__(self):
        blocks = nn.Sequential(Block(4, (3, 3), (8, 8), 2), Block(8, (3, 3), (8, 8), 1))
        self.stage = nn.Sequential(blocks, nn.Conv2d(8, 8, 1), nn.ReLU())
        self.first, self.branches, self.last = nn.Conv2d(3, 4, 3), Branches(), nn.Linear(6, 4)
        self.between = nn.Linear(8, 6)

    def forward(self, x):
        """Return logits for images."""
        h = F.tanh(self.between(self.stage(self.first(x)).mean(axis=(2, 3))))
        return self.last(self.branches(h) * h + h + self.branches(h))


def network(precision, layers, packed=False):
    """Return a network from the same seed each time."""
    lp.manual_seed(1)
    model = Network()
    recipe = precision() if hasattr(precision, "__code__") else precision
    nn.lower(model, getattr(recipe, "precision", recipe), packed=packed)
    nn.checkpointed(model, layers)
    return model


def batches(steps=3):
    """Return batches of images and labels."""
    rng = np.random.default_rng(0)
    return [(rng.standard_normal((6, 3, 12, 12), np.float32), rng.integers(0, 4, 6)) for _ in range(steps)]


def trained(precision, layers, use=None, packed=False):
    """Return the bytes of all that three steps leave: state, gradients, the stream's place."""
    model = network(precision, layers, packed)
    optimizer = lp.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for x, y in batches():
        with lp.use(use):
            F.cross_entropy(model(lp.Tensor(x)), y).backward()
        optimizer.step()
    tensors = [*model.state_dict().values(), *(p.grad for p in model.parameters())]
    return [a.tobytes() for a in tensors], lp.random.default.site


LAYERS = {
    "blocks": [Block],
    "stage": ["stage"],
    "nested": ["stage", Block, "stage.0.1.body"],
    "branches": ["branches"],
    "all": [nn.Module],
}


@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_training_has_the_same_bits(precision, layers):
    """Weights, statistics, gradients and random sites after some steps are those without marks."""
    chosen = PRECISIONS[precision]
    plain = trained(chosen, [])
    assert trained(chosen, LAYERS[layers]) == plain
    assert precision == "float" or plain != trained(None, [])


def test_rounding_every_operation_has_the_same_bits():
    """`use` is active again while a block is computed again, and only then."""
    assert trained(None, [Block, "branches"], use="bfp8") == trained(None, [], use="bfp8")


def test_inputs_are_kept_in_codes():
    """With packed, what is kept of a block's rounded input is its codes; the bits are the same."""
    assert trained("bfp8", ["stage.1", "branches"], packed=True) == trained("bfp8", [])
    rounded, block = nn.Conv2d(3, 4, 3), nn.Sequential(nn.Conv2d(4, 4, 1))
    nn.lower(rounded, "bfp8", packed=True)
    nn.checkpointed(block, nn.Sequential)
    (kept,) = block(rounded(lp.Tensor(batches(1)[0][0]))).creator.arguments
    assert kept.data is None and kept.codes is not None


def test_what_a_block_computes_is_gone_until_backward_is_there():
    """Between forward and backward nothing holds a result inside of a block."""
    inside = []

    class Watched(nn.Module):
        def forward(self, x):
            inside.append(weakref.ref(y := F.exp(x)))
            inside.append(weakref.ref(y.data))
            return y * y

    block, x = Watched(), lp.Tensor(np.ones(3, np.float32), requires_grad=True)
    nn.checkpointed(block, [Watched])
    y = block(x)
    gc.collect()
    assert not any(ref() is not None for ref in inside)
    y.sum().backward()
    assert len(inside) == 4 and np.allclose(x.grad, 2 * np.exp(2))


def test_who_looks_on_sees_one_pass():
    """A trace counts each rounding once, with or without marks, and hooks are called once a layer."""
    seen = []
    for layers in ([], [Block, "stage"]):
        model, (x, y) = network("bfp8", layers), batches(1)[0]
        with lp.trace(model) as found:
            F.cross_entropy(model(lp.Tensor(x)), y).backward()
        seen.append(found.stats)
    assert seen[0] == seen[1]


def test_shards_have_the_same_bits(monkeypatch):
    """What the shards of a batch tell one another in a block they tell once."""
    monkeypatch.setattr(processes, "world", lambda: processes.World(None))
    monkeypatch.setattr(sharded, "_plan", None)
    lp.distributed.init(2)
    found = []
    for layers in ([], [Block, "stage"]):
        model = network("bfp8", layers)
        optimizer = lp.optim.SGD(model.parameters(), lr=0.1)
        lp.fit(model, batches(), optimizer=optimizer, epochs=1, progress=False)
        found.append([a.tobytes() for a in model.state_dict().values()])
    assert found[0] == found[1]


def test_marks_are_replaced_and_unknown_layers_refused():
    """The sentence names the layer that was meant; no mark changes."""
    model = network(None, [Block])
    with pytest.raises(ValueError, match=r"checkpointed: .*stage"):
        nn.checkpointed(model, ["stages"])
    with pytest.raises(TypeError, match="checkpointed: layers must be types or names of modules, got 3"):
        nn.checkpointed(model, [3])
    assert model.stage[0][0].checkpointed
    assert nn.checkpointed(model, "stage") == {"stage": "Sequential"}
    assert not model.stage[0][0].checkpointed
