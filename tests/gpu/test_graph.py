"""A step recorded as a CUDA graph is the step."""

import signal

import numpy as np
import pytest

import lpnet as lp
from lpnet import functions as F
from lpnet import models, nn
from lpnet.training import GraphedStep

SHAPES = {"small_cnn": (1, 8, 8), "preresnet20": (3, 8, 8), "recomputed": (3, 8, 8)}
RATES = (0.05, 0.02)


def prepared(name, low, device):
    """Return a network on the device, and its optimizer."""
    lp.manual_seed(0)
    net = models.small_cnn() if name == "small_cnn" else models.build("preresnet20", SHAPES[name], 10)
    net = net.to(device)
    nn.lower(net, "bfp8" if low else None)
    nn.checkpointed(net, [models.preresnet.Block] if name == "recomputed" else [])
    return net, lp.optim.SGD(net.parameters(), 0.05, 0.9, 5e-4, precision="bfp8" if low else None)


def batches(name, n=5):
    """Return batches, the last of them smaller."""
    rng = np.random.default_rng(0)
    sizes = [8] * (n - 1) + [5]
    return [(rng.standard_normal((k, *SHAPES[name])).astype(np.float32), rng.integers(0, 10, k)) for k in sizes]


def in_a_loop(name, low, device):
    """Return the losses, and what is left, of steps in a loop of one's own: two epochs at each rate."""
    net, optimizer = prepared(name, low, device)
    losses = []
    for optimizer.lr in RATES:
        for x, y in 2 * batches(name):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(lp.Tensor(lp.to_device(x, device))), y)
            loss.backward()
            optimizer.step()
            losses.append(float(loss.data))
    return losses, left(net, optimizer)


def graphed(name, low, device):
    """Return the same of steps that are recorded."""
    net, optimizer = prepared(name, low, device)
    step, losses = GraphedStep(net, optimizer), []
    for optimizer.lr in RATES:
        losses += [step(x, y) for x, y in 2 * batches(name)]
    return [float(loss) for loss in losses], left(net, optimizer)


def left(net, optimizer):
    """Return weights, buffers and momentum, on the host, and where the random stream is."""
    arrays = {**net.state_dict(), **{f"momentum {i}": s["momentum"] for i, s in enumerate(optimizer.state)}}
    return {name: lp.to_device(a, "cpu") for name, a in arrays.items()}, lp.random.default.site


def same(one, other):
    """Compare losses, what is left and the place in the random stream, to the bit."""
    (losses, (arrays, site)), (others, (found, at)) = one, other
    assert losses == others and site == at
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


@pytest.mark.parametrize("low", [False, True])
def test_on_the_cpu_it_is_the_loop(low):
    """Weights, momentum, losses and random numbers, to the bit."""
    same(in_a_loop("small_cnn", low, "cpu"), graphed("small_cnn", low, "cpu"))


def test_an_optimizer_that_counts_is_refused():
    """Its count would stand still in a recording."""
    net, _ = prepared("small_cnn", False, "cpu")
    with pytest.raises(ValueError, match="GraphedStep: Adam counts its steps on the host"):
        GraphedStep(net, lp.optim.Adam(net.parameters()))


def test_a_network_that_packs_is_refused():
    """Whether a bit would be lost is known on the host only."""
    net, optimizer = prepared("small_cnn", True, "cpu")
    nn.lower(net, "bfp8", packed=True)
    with pytest.raises(ValueError, match="GraphedStep: layers were lowered with packed=True"):
        GraphedStep(net, optimizer)


def test_blocks_that_are_computed_again_give_the_same_bits(cupy):
    """Recorded or not, a network with such blocks does what one without does, dice and all."""
    plain = in_a_loop("preresnet20", True, "cuda")
    same(plain, in_a_loop("recomputed", True, "cuda"))
    same(plain, graphed("recomputed", True, "cuda"))


@pytest.mark.parametrize("low", [False, True])
@pytest.mark.parametrize("name", ["small_cnn", "preresnet20"])
def test_recorded_steps_do_what_the_loop_does(cupy, name, low):
    """Losses, weights and the place in the random stream, to the bit: two shapes of batches in turn, two rates."""
    same(in_a_loop(name, low, "cuda"), graphed(name, low, "cuda"))


def test_weights_that_others_put_there_are_taken(cupy):
    """A state that is loaded between recorded steps is rounded, and gone on from, as by the loop."""

    def trained(take):
        net, optimizer = prepared("small_cnn", True, "cuda")
        step, (x, y) = take(net, optimizer), batches("small_cnn")[0]
        for _ in range(3):
            step(x, y)
        net.load_state_dict({name: a * np.float32(0.77) for name, a in net.state_dict().items()})
        for _ in range(3):
            step(x, y)
        return left(net, optimizer)

    def loop(net, optimizer):
        def step(x, y):
            optimizer.zero_grad()
            F.cross_entropy(net(lp.Tensor(lp.to_device(x, "cuda"))), y).backward()
            optimizer.step()

        return step

    (arrays, site), (found, at) = trained(loop), trained(GraphedStep)
    assert site == at
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_a_recorded_step_asks_the_gpu_once(fake):
    """PreResNet-20 in bfp8 is over a thousand launches a step; recorded it is one, beside those of batch and loss."""
    net, optimizer = prepared("preresnet20", True, "cuda")
    step, (x, y) = GraphedStep(net, optimizer), [lp.to_device(a, "cuda") for a in batches("preresnet20")[0]]

    def asked():
        before = fake.launches
        step(x, y)
        return fake.launches - before

    counts = [asked() for _ in range(4)]
    assert counts[0] > 1000 and counts[2] == counts[3] == 4


def fitted(graph, packed=False, **options):
    """Return the log and what is left of a run of `fit` on the GPU."""
    net, optimizer = prepared("small_cnn", True, "cuda")
    nn.lower(net, "bfp8", packed=packed)
    rng = np.random.default_rng(1)
    data = rng.standard_normal((44, *SHAPES["small_cnn"])).astype(np.float32), rng.integers(0, 10, 44)
    loader = lp.data.DataLoader(data, 8, shuffle=True)
    swalp = lp.optim.SWALP(net, optimizer, 9, 3, lr=0.01)
    log = lp.fit(
        net,
        loader,
        lp.data.DataLoader(data),
        epochs=4,
        optimizer=optimizer,
        swalp=swalp,
        progress=False,
        graph=graph,
        **options,
    )
    weights, site = left(net, optimizer)
    mean = {f"mean {name}": lp.to_device(a, "cpu") for name, a in swalp.mean.items()}
    return log, ({**weights, **mean}, site)


def test_fit_records_its_steps_to_the_same_bits(cupy):
    """With SWALP, a rate that changes, and a last batch that is smaller."""
    same(fitted(False), fitted(True))


def test_fit_packs_to_the_same_bits(cupy):
    """Asked to record, it does not."""
    same(fitted(False), fitted(True, packed=True))


def test_a_recorded_run_that_is_stopped_goes_on_to_the_same_bits(cupy, tmp_path):
    """Ctrl-C in the midst of a recorded step waits for its end, which the checkpoint has."""

    class Stop(lp.training.Callback):
        armed = True

        def on_step(self, run):
            if self.armed and run.step == 10:  # counted already, in the midst of the eleventh's block otherwise
                assert run.recorded is not None
                signal.raise_signal(signal.SIGINT)

    stop, before = Stop(), signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background
    with pytest.raises(KeyboardInterrupt):
        fitted(True, out=tmp_path, callbacks=[stop])
    signal.signal(signal.SIGINT, before)
    assert lp.load(tmp_path / "checkpoint.npz")["run"]["step"] == 10
    stop.armed = False
    same(fitted(False, callbacks=[stop]), fitted(True, out=tmp_path, resume=True, callbacks=[stop]))
