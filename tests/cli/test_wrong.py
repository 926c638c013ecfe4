"""Wrong command lines, of every command: one sentence on stderr, exit code 2, and the disk as it was."""

import shutil

import numpy as np
import pytest

import lpnet as lp
from lpnet import cli
from tests.alone import leave_alone

from .test_options import options

# What is typed in a folder that holds what `world` makes, and words that the sentence has.
WRONG = [
    ("trian --epochs 3", "trian, train"),
    ("train run", "run"),
    ("train --epochs 1.5", "--epochs, 1.5, integer"),
    ("train --data", "--data"),
    ("train --data note.txt", "note.txt, folder, .npz, .csv"),
    ("train --data missing.npz", "missing.npz"),
    ("train --data empty", "empty, no pictures"),
    ("train --data one", "one class only"),
    ("train --data broken", "0.png, no picture"),
    ("train --data nolabel.csv", "nolabel.csv, label"),
    ("train --data ragged.csv", "ragged.csv, line 3"),
    ("train --data words.csv", "words.csv, line 2"),
    ("train --data other.npz", "other.npz, x_train, weights"),
    ("train --data lengths.npz", "lengths, labels, 5"),
    ("train --data torn.npz", "torn.npz"),
    ("train --data pictures --size 0", "--size, at least 1"),
    ("train --data pictures --model lenet --size 8", "lenet, 16x16"),
    ("train --data-dir pictures", "--data-dir, digits, --data pictures"),
    ("train --data-dir missing", "--data-dir, missing, no folder"),
    ("train --data-dir empty", "--data-dir, none of the data sets"),
    ("train --size 9", "--size, digits"),
    ("train --data alone.npz --size 9", "--size, alone.npz"),
    ("train --data pictures --data-dir empty", "--data-dir, pictures, empty"),
    ("train --data table.csv --model mlp --augment", "--augment, 1"),
    ("train --data table.csv", "small_cnn, 2x2, mlp"),
    ("train --data tall.npz", "small_cnn, 6x9, preresnet20"),
    ("train --data tall.npz --model vgg16", "vgg16, 6x9"),
    ("train --data pictures --size 9 --model vgg16_bn", "vgg16_bn, 32x32, 9x9"),
    ("train --data https://example.com/x.zip", "https, digits"),
    ("train --data pictures/a", "pictures/a, folder for each class"),
    ("train --seed 1.5", "--seed, 1.5"),
    ("train --epochs 1e3", "--epochs, 1e3"),
    ("train --lr", "--lr"),
    ("train --lr fast", "--lr, fast"),
    ("train --checkpoint-every inf", "--checkpoint-every, inf"),
    ("train --loss-scale nan", "--loss-scale, nan"),
    ("train --warmup 1e3", "--warmup, 1e3"),
    ("train --swa-start 3.5", "--swa-start, 3.5"),
    ("train --resume --out run", "run, logistic_regression, small_cnn"),
    ("train --resume --out pictures", "--resume, pictures, no run"),
    ("train --precision bfp8,bfp4", "bfp8"),
    ("train --precision FixedPoint(8,6", "FixedPoint(8,6"),
    ("train --precision activation=", "format"),
    ("train --recipe nvfp4 --rounding nearest", "--recipe nvfp4, --rounding"),
    ("train --verbose", "--verbose"),
    ("train --val 1", "--val, below 1"),
    ("train --val -0.1", "--val, -0.1"),
    ("train --val 0.2 --data alone.npz", "one sample"),
    ("train --stop-after 3", "--stop-after, --val"),
    ("train --stop-after 0 --val 0.2", "--stop-after, at least 1"),
    ("train --optimizer sgdm", "sgdm, adamw"),
    ("train --optimizer adam --momentum 0.5", "--momentum, adam"),
    ("train --schedule cosin", "cosin, cosine"),
    ("train --warmup -1", "--warmup, -1"),
    ("train --clip none", "--clip, none"),
    ("train --label-smoothing 1", "--label-smoothing, below 1"),
    ("train --loss-scale dynamik", "dynamik, dynamic"),
    ("train --loss-scale 0", "--loss-scale, above 0"),
    ("train --threads 0", "--threads, at least 1"),
    ("train --shards 0", "--shards, at least 1"),
    ("train --shards 7.5", "--shards, 7.5"),
    ("train --trace 0", "--trace, at least 1"),
    ("train --device tpu", "tpu, cuda"),
    ("train --precision fixed8", "fixed8"),
    ("train --precision mxfp4_e9m9", "mxfp4_e9m9"),
    ("train --precision weight=bfp8,weight=bfp4", "weight, twice"),
    ("train --precision weight", "weight"),
    ("train --recipe nvfp5", "nvfp5, nvfp4"),
    ("train --recipe mxfp8 --precision bfp8", "--recipe, --precision bfp8"),
    ("train --recipe luq --model logistic_regression", "luq, first, last"),
    ("recipes nvfp4 luq", "luq"),
    ("recipes --list", "--list"),
    ("recipes nvfp5", "nvfp5, nvfp4"),
    ("train --out run", "run, holds a run already"),
    ("train --model resnet81", "resnet81, resnet18"),
    ("eval", "RUN"),
    ("eval pictures", "pictures, no run folder"),
    ("eval run --confusion --data-dir missing", "--data-dir, missing"),
    ("eval running", "running, --resume"),
    ("eval note.txt", "note.txt"),
    ("predict", "RUN"),
    ("predict run", "FILE"),
    ("predict run missing.png", "missing.png"),
    ("predict run note.txt", "note.txt, no picture"),
    ("predict pictures pictures/a/0.png", "pictures, best.npz, model.npz"),
    ("predict nameless.npz pictures/a/0.png", "nameless.npz, about"),
    ("predict missing.npz pictures/a/0.png", "missing.npz"),
    ("predict note.txt pictures/a/0.png", "note.txt"),
    ("predict run pictures", "pictures"),
    ("predict run/config.json pictures/a/0.png", "config.json"),
    ("predict running pictures/a/0.png", "running, not ended"),
    ("summary", "MODEL"),
    ("summary small_cnn --size 8", "--size, digits"),
    ("summary small_cnn --data pictures --size 5000", "4096, 5000"),
    ("summary vgg16", "32x32"),
    ("summary mlp mlp", "mlp"),
    ("summary small_ccn", "small_ccn, small_cnn"),
    ("summary lenet", "16x16, 8x8"),
    ("summary mlp --precision e4m99", "man, 99"),
    ("step --model vgg", "vgg, vgg16"),
    ("step --batch-size 0", "--batch-size, at least 1"),
    ("step --after -1", "--after, at least 0"),
    ("step --weight 0.weight", "--weight, NAME:I,J"),
    ("step --weight 0.weight:0,0,9,9", "0.weight, (16, 1, 3, 3), 0,0,9,9"),
    ("step --weight 0.weight:a", "--weight, 0.weight:a"),
    ("step --size 8", "--size, digits"),
    ("step --lr inf", "--lr, inf"),
    ("step --precision nothing", "nothing"),
    ("step --optimizer adam", "--optimizer"),
    ("step --weight conv:0", "--weight, 0.weight, conv:0"),
    ("step --loss-scale -1", "--loss-scale, -1"),
    ("step --data empty", "empty"),
    ("plot", "RUN"),
    ("plot missing", "missing, log.jsonl"),
    ("plot run pictures", "pictures, log.jsonl"),
    ("plot run --out missing/curves.png", "missing"),
    ("plot run --out curves.docx", "docx"),
    ("plot run --out .", "expected a file, .png"),
    ("plot torn", "log.jsonl, damaged"),
    ("formats e4m3 e99m9", "99"),
    ("formats bfp8 bpf8", "bpf8, bfp8"),
    ("formats fixed8.6:16", "fixed8.6:16"),
    ("formats e4m3 --plot", "--plot"),
    ("formats --plot line.png", "--plot, name"),
    ("formats e4m3 --plot line.xyz", "xyz"),
    ("demo --epochs 1", "--epochs, at least 3"),
    ("demo fast", "fast"),
    ("demo --seeds two", "--seeds, two"),
    ("demo --device tpu", "tpu"),
    ("reproduce avaraging", "avaraging, averaging"),
    ("reproduce averaging --paper cifar10", "classification"),
    ("reproduce classification --paper imagenet", "--data-dir, train/"),
    ("reproduce classification --paper imagenet --data-dir empty", "empty"),
    ("reproduce classification --quick --paper cifar10", "quick"),
    ("reproduce --quick", "--quick, NAME"),
    ("reproduce averaging --jobs 0", "--jobs, at least 1"),
    ("reproduce averaging --jobs none", "--jobs, none"),
    ("lab --port", "--port"),
    ("lab --port http", "--port, http"),
    ("lab --port 70000", "70000"),
    ("lab --port -1", "-1"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a folder with what command lines speak of: a run, and files that are not what they should be."""
    image, root = pytest.importorskip("PIL.Image"), tmp_path_factory.mktemp("world")
    picture = image.fromarray(np.zeros((9, 9, 3), np.uint8))
    for folder in ("pictures/a", "pictures/b", "one/a", "broken/a", "broken/b", "empty", "torn", "running"):
        (root / folder).mkdir(parents=True)
    for i in range(3):
        for folder in ("pictures/a", "pictures/b", "one/a", "broken/a"):
            picture.save(root / folder / f"{i}.png")
        (root / "broken" / "b" / f"{i}.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    texts = {
        "note.txt": "a note",
        "nolabel.csv": "a,b\n1,2\n",
        "ragged.csv": "a,label\n1,2\n3\n",
        "words.csv": "a,label\none,2\n",
        "torn.npz": "PK",
        "torn/log.jsonl": '{"epoch": 1}\n{"epo',
    }
    for name, text in texts.items():
        (root / name).write_text(text)
    x = np.zeros((6, 8, 8), np.uint8)
    np.savez(root / "other.npz", weights=x)
    np.savez(root / "lengths.npz", x=x, y=np.zeros(5, int))
    np.savez(root / "tall.npz", x=np.zeros((9, 6, 9), np.uint8), y=np.arange(9) % 3)
    (root / "table.csv").write_text("a,b,label\n" + "1,2,x\n3,4,y\n" * 5)
    np.savez(root / "alone.npz", x=x, y=np.array([0, 0, 0, 1, 1, 2]))
    lp.save(root / "nameless.npz", model=lp.models.small_cnn())
    run = root / "run"
    assert cli.main(["train", "--model", "logistic_regression", "--epochs", "1", "--quiet", "--out", str(run)]) == 0
    (root / "running" / "config.json").write_bytes((run / "config.json").read_bytes())
    return root


@pytest.fixture
def world(made, tmp_path, monkeypatch):
    """Return a copy of it, to run in."""
    leave_alone(tmp_path, monkeypatch)
    shutil.copytree(made, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr("lpnet.lab.serve", lambda *_, **__: pytest.fail("the lab was started"))
    return tmp_path


def contents(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize("typed, words", WRONG, ids=[typed for typed, _ in WRONG])
def test_a_wrong_command_line_is_one_sentence(world, capsys, typed, words):
    """It names what came and what would do, on one line, without a traceback."""
    before = contents(world)
    assert cli.main(typed.split()) == 2
    out, error = capsys.readouterr()
    assert error.startswith("lpnet: error: ") and error.count("\n") == 1 and error.endswith("\n"), error
    assert all(word in error for word in words.split(", ")), error
    assert "Traceback" not in out + error and contents(world) == before


def test_every_command_is_among_them():
    """At least 126 lines, none twice, and of each command at least two."""
    assert len({typed for typed, _ in WRONG}) == len(WRONG) >= 126
    told = [typed.split()[0] for typed, _ in WRONG]
    assert all(told.count(command) >= 2 for command in options())
