"""Downloads: complete, checked and under their name, or not there at all."""

import contextlib
import errno
import gzip
import hashlib
import http.server
import os
import shutil
import sys
import threading
import time
import urllib.request
from dataclasses import replace

import pytest

from lpnet import files
from lpnet.data import download, load, sources

from .small import idx_files

URLOPEN = urllib.request.urlopen
CONTENTS, ARRAYS = idx_files()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves /good/NAME.gz; /missing/ is a 404, /short/ stops halfway, /wrong/ is another file, /page/ no gzip file.

    /endless/ and /long/ have no end or say so, /drip/ sends a byte now and then, /moved/ leads to /good/.
    """

    def do_GET(self):
        _, kind, name = self.path.split("/")
        self.server.asked.append(self.path)
        if kind == "missing":
            self.send_error(404)
            return
        if kind == "moved":
            self.send_response(302)
            self.send_header("Location", self.path.replace("moved", "good"))
            self.end_headers()
            return
        if kind in ("endless", "drip", "long"):
            self.pour(kind)
            return
        body = gzip.compress(CONTENTS[name.removesuffix(".gz")][: -1 if kind == "wrong" else None])
        body = b"<html>" if kind == "page" else body
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if kind == "short" else body)

    def pour(self, kind):
        self.send_response(200)
        if kind == "long":
            self.send_header("Content-Length", str(1 << 40))
        self.end_headers()
        with contextlib.suppress(OSError):  # until the client hangs up
            while True:
                self.wfile.write(b"a" if kind == "drip" else bytes(1 << 16))
                self.wfile.flush()
                time.sleep(0.01 if kind == "drip" else 0)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked = []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def serve(server, monkeypatch):
    """Publish the small MNIST at addresses of the local server; return the list of what is asked for."""

    def publish(*kinds):
        files = tuple(sources.File(n, len(c), hashlib.sha256(c).hexdigest()) for n, c in CONTENTS.items())
        addresses = tuple(f"http://127.0.0.1:{server.server_port}/{kind}/" for kind in kinds)
        monkeypatch.setitem(sources.SOURCES, "mnist", replace(sources.MNIST, downloads=files, addresses=addresses))
        server.asked.clear()
        return server.asked

    monkeypatch.setattr(urllib.request, "urlopen", URLOPEN)
    return publish


def left_in(cache):
    return sorted(str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file())


def untouched(cache):
    return not cache.parent.exists()


def test_a_download_is_kept_and_not_repeated(serve, cache):
    """Each file is fetched once, and read from the cache after that."""
    asked = serve("good")
    train, test = load("mnist")
    assert (train.images[:, 0] == ARRAYS["train-images-idx3-ubyte"]).all() and len(test) == 10
    assert left_in(cache) == sorted(f"mnist/{name}.gz" for name in CONTENTS)
    assert len(asked) == 4
    load("mnist")
    assert len(asked) == 4


def test_only_what_is_missing_is_fetched(serve, cache):
    """A cache that lacks one file asks for that one."""
    asked = serve("good")
    load("mnist")
    (cache / "mnist" / "t10k-labels-idx1-ubyte.gz").unlink()
    load("mnist")
    assert asked[4:] == ["/good/t10k-labels-idx1-ubyte.gz"]


@pytest.mark.parametrize("first", ["missing", "short", "wrong", "page"])
def test_the_next_address_is_tried(serve, cache, first):
    """An address that gives nothing, or something else, is passed over."""
    serve(first, "good")
    assert len(load("mnist")[0]) == 30
    assert left_in(cache) == sorted(f"mnist/{name}.gz" for name in CONTENTS)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("missing", "Not Found"),
        ("short", "only .* of .* bytes came|IncompleteRead"),
        ("wrong", "what came is not the published file"),
        ("page", "what came is not the published file"),
        ("long", "1099511627776 bytes or more, the published file has at most 24"),
        ("endless", "bytes or more, the published file has at most 24"),
        ("drip", "too slow, fewer than 1000000 bytes a second"),
    ],
)
def test_a_failed_download_leaves_nothing_and_says_where_it_looked(serve, cache, kind, reason, monkeypatch):
    """The error has the address, the reason, the cache and the way out; the disk is as before."""
    monkeypatch.setattr(download, "TIMEOUT", 0.5)
    monkeypatch.setattr(download, "SLOWEST", 1_000_000)
    serve(kind)
    with pytest.raises(FileNotFoundError, match=f"/{kind}/train-images-idx3-ubyte.gz .*({reason})") as error:
        load("mnist")
    assert str(cache) in str(error.value) and "--data-dir" in str(error.value) and "\n" not in str(error.value)
    assert untouched(cache)


def test_a_redirect_from_https_to_http_is_refused(serve, cache, monkeypatch):
    """A secure address does not lead to an insecure one."""
    serve("moved")
    assert len(load("mnist")[0]) == 30  # from http to http
    shutil.rmtree(cache.parent)
    mnist = sources.SOURCES["mnist"]
    secure = tuple(address.replace("http:", "https:") for address in mnist.addresses)
    monkeypatch.setitem(sources.SOURCES, "mnist", replace(mnist, addresses=secure))
    plain = lambda address, **options: URLOPEN(address.replace("https:", "http:"), **options)  # noqa: E731
    monkeypatch.setattr(urllib.request, "urlopen", plain)
    with pytest.raises(FileNotFoundError, match=r"it leads to http://.*, which is not https"):
        load("mnist")
    assert untouched(cache)


def test_official_addresses_are_https():
    """No official address can be tampered with on the way."""
    assert all(a.startswith("https://") for source in sources.SOURCES.values() for a in source.addresses)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "cifar100"])
def test_without_network_one_sentence_lists_places_and_addresses(tmp_path, cache, monkeypatch, name):
    """Where it looked, and where the files are to be had."""
    monkeypatch.setenv("LPNET_DATA", str(tmp_path / "mine"))
    with pytest.raises(FileNotFoundError) as error:
        load(name)
    source = sources.SOURCES[name]
    places = [str(tmp_path / "mine"), str(cache)] + [str(source.system)] * bool(source.system)
    for words in (*places, *source.addresses, "no network in tests"):
        assert words in str(error.value)
    assert "\n" not in str(error.value)
    assert left_in(cache) == []


class Broken:
    """An answer that breaks off after one piece."""

    def __init__(self, error):
        self.headers, self.error, self.calls = {}, error, 0

    def geturl(self):
        return "https://somewhere"

    def read1(self, count):
        self.calls += 1
        if self.calls > 1:
            raise self.error
        return b"some bytes"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ConnectionResetError("reset"), TimeoutError("timed out")])
def test_an_interrupted_download_leaves_nothing(cache, monkeypatch, error):
    """Neither a lost connection nor a Ctrl-C leaves half a file."""
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: Broken(error))
    expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else FileNotFoundError
    with pytest.raises(expected):
        load("mnist")
    assert untouched(cache)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(serve, cache, monkeypatch, code):
    """It is the disk's fault, and no other address is tried."""
    serve("good", "good")

    def full(_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=f"cannot write .*train-images.*: {os.strerror(code)}; make room") as error:
        load("mnist")
    assert not isinstance(error.value, FileNotFoundError | download.DownloadError)
    assert left_in(cache) == []


def test_an_unwritable_folder_is_one_sentence(serve, cache, monkeypatch):
    """The error names the folder and the variable that moves it."""
    serve("good")

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(files, "open", refuse, raising=False)
        with pytest.raises(OSError, match=r"cannot write .*: Permission denied; .*XDG_CACHE_HOME"):
            load("mnist")
    cache.mkdir(parents=True)
    (cache / "mnist").write_text("a file where the folder should be")
    with pytest.raises(OSError, match=r"cannot write .*: File exists"):
        load("mnist")


def test_an_archive_is_checked_as_it_comes(tmp_path, cache):
    """CIFAR: no member is read from an archive whose checksum is wrong."""
    target = cache / "cifar10" / "cifar-10-binary.tar.gz"
    target.parent.mkdir(parents=True)
    target.write_bytes(b"anything")
    with pytest.raises(ValueError, match=r"cifar-10-binary\.tar\.gz: damaged, or another data set's"):
        load("cifar10")


def test_without_tqdm_one_line_says_what_is_happening(serve, monkeypatch, capsys):
    """A download without a bar is not silent."""
    serve("good")
    monkeypatch.setitem(sys.modules, "tqdm", None)
    load("mnist")
    assert capsys.readouterr().err.count("downloading http://127.0.0.1") == 4
