"""Runs in TensorBoard: every number of the log is in the event file, at its step."""

import json
import struct

import numpy as np
import pytest

import lpnet as lp

pytest.importorskip("tensorboardX", reason="tensorboardX is not installed: its files are not tried")
from tensorboardX.proto.event_pb2 import Event

from lpnet.interop.tensorboard import Writer, write


def events(folder):
    """Yield the events of all files: a record is its length, 8 bytes, a checksum of 4, the event, a checksum of 4."""
    for file in sorted(folder.glob("events.out.tfevents.*")):
        content = file.read_bytes()
        while content:
            (n,) = struct.unpack("<Q", content[:8])
            yield Event.FromString(content[12 : 12 + n])
            content = content[16 + n :]


def scalars(folder):
    """Return {(tag, step): value}."""
    values = [(event.step, value) for event in events(folder) for value in event.summary.value]
    return {(v.tag, step): v.simple_value for step, v in values if v.HasField("simple_value")}


def train(**options):
    """Train a small network for two epochs; return the log."""
    rng = np.random.default_rng(0)
    data = lp.data.Dataset(rng.standard_normal((32, 1, 2, 3)).astype(np.float32), rng.integers(0, 3, 32))
    model = lp.models.mlp(6, 3, (4,))
    optimizer = lp.optim.SGD(model.parameters(), lr=0.1)
    swalp = lp.optim.SWALP(model, optimizer, start=4, cycle=1)
    loader = lp.data.DataLoader(data, 8)
    return lp.fit(model, loader, loader, epochs=2, optimizer=optimizer, swalp=swalp, **options)


def expected(log):
    """Return what the rows say, by tag and step."""
    both = [(kind, measure) for kind in ("train", "test", "swalp") for measure in ("loss", "error")]
    tags = {"lr": "lr", **{f"{kind}_{measure}": f"{kind}/{measure}" for kind, measure in both}}
    return {(tags[key], row["step"]): np.float32(value) for row in log for key, value in row.items() if key in tags}


def test_a_run_folder_becomes_scalars(tmp_path):
    """Tags, steps and values are those of the rows; the configuration is there as text."""
    log = train(out=tmp_path / "run", progress=False, config={"precision": "bfp8"})
    write(tmp_path / "run", tmp_path / "board")
    found = scalars(tmp_path / "board")
    assert expected(log).items() <= found.items()
    assert len(log) == 2 and ("swalp/error", 8) in found
    tensors = [value.tensor for event in events(tmp_path / "board") for value in event.summary.value]
    assert any(b'"precision": "bfp8"' in text for tensor in tensors for text in tensor.string_val)


def test_while_it_trains(tmp_path):
    """As fit's progress, the writer gets every row."""
    writer = Writer(tmp_path)
    log = train(progress=writer)
    writer.close()
    assert expected(log).items() <= scalars(tmp_path).items()


def test_written_again_it_replaces(tmp_path):
    """Each file tells TensorBoard to forget what came before it: a session starts at step 0."""
    train(out=tmp_path / "run", progress=False)
    for _ in range(2):
        write(tmp_path / "run", tmp_path / "board")
    starts = [e for e in events(tmp_path / "board") if e.HasField("session_log")]
    assert len(starts) == len(list((tmp_path / "board").iterdir()))  # within a second the second file is the first
    assert all(e.session_log.status == 1 and e.step == 0 for e in starts)


def test_the_logs_lines_are_json(tmp_path):
    """Every line is JSON as the standard has it, without NaN; a null is left out."""
    train(out=tmp_path / "run", progress=False)
    file = tmp_path / "run" / "log.jsonl"

    def refuse(constant):
        raise AssertionError(constant)

    for line in file.read_text().splitlines():
        json.loads(line, parse_constant=refuse)
    with file.open("a") as log:
        log.write('{"epoch": 3, "step": 12, "lr": 0.1, "train_loss": null}\n')
    write(tmp_path / "run", tmp_path / "board")
    found = scalars(tmp_path / "board")
    assert ("lr", 12) in found and ("train/loss", 12) not in found


def test_what_is_no_run_is_refused(tmp_path):
    """By name, before anything is written."""
    with pytest.raises(FileNotFoundError, match="no run folder"):
        write(tmp_path, tmp_path / "board")
    train(out=tmp_path / "run", progress=False)
    for line, sentence in (("{", "line 3 is no JSON"), ("[1]", "line 3 is no row"), ('{"epoch": 3}', "it has no step")):
        log = (tmp_path / "run" / "log.jsonl").read_text().splitlines()[:2]
        (tmp_path / "run" / "log.jsonl").write_text("\n".join([*log, line]))
        with pytest.raises(ValueError, match=rf"log\.jsonl: .*{sentence}"):
            write(tmp_path / "run", tmp_path / "board")
    assert not (tmp_path / "board").exists()
