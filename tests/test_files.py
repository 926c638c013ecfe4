"""A file is whole or not there, whatever happens while it is written; a lock has one owner."""

import errno
import os
import pickle
import stat
import zipfile

import pytest

import lpnet as lp
from lpnet import files


def leftovers(folder):
    return [name for name in os.listdir(folder) if name.startswith(".tmp")]


def test_an_interrupt_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), files.atomic_write(path, "w") as file:
        file.write("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and not leftovers(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="links want rights elsewhere")
def test_a_link_stays_and_its_target_is_written(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "x.npz").symlink_to(tmp_path / "there" / "y.npz")
    lp.save(tmp_path / "x.npz", x=1)
    assert (tmp_path / "x.npz").is_symlink() and lp.load(tmp_path / "there" / "y.npz") == {"x": 1}


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EPERM])
@pytest.mark.skipif(os.name != "posix", reason="folders are synchronised on POSIX only")
def test_a_folder_that_cannot_be_synchronised_is_written_to(tmp_path, monkeypatch, code):
    real = os.fsync

    def fsync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, "no")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    lp.save(tmp_path / "x.npz", a=7)
    assert lp.load(tmp_path / "x.npz") == {"a": 7}


def test_two_writers_of_one_process_do_not_meet(tmp_path):
    with files.atomic_write(tmp_path / "x", "w") as first:
        first.write("first")
        with files.atomic_write(tmp_path / "x", "w") as second:
            second.write("second")
    assert (tmp_path / "x").read_text() == "first" and not leftovers(tmp_path)


def test_a_lock_is_held_by_one_and_free_again(tmp_path):
    first = files.Lock(tmp_path / ".lock")
    with pytest.raises(RuntimeError, match="another run"):
        files.Lock(tmp_path / ".lock")
    first.release()
    files.Lock(tmp_path / ".lock").release()
    assert not os.listdir(tmp_path)


def test_leftovers_of_other_processes_go_and_all_else_stays(tmp_path):
    for name in (".tmp-99999999-1-x.npz", f".tmp-{os.getpid()}-1-x.npz", "x.npz", ".hidden"):
        (tmp_path / name).write_text("half")
    files.remove_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".hidden", f".tmp-{os.getpid()}-1-x.npz", "x.npz"]


def test_files_of_others_are_told_by_their_kind(tmp_path):
    """A pickle, bare or in an archive as torch.save has it, and safetensors: what to do; nothing of it is run."""
    pickled, archive, tensors = (tmp_path / name for name in ("old.pt", "new.pt", "m.safetensors"))
    pickled.write_bytes(pickle.dumps({"weight": 1}))
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("new/data.pkl", pickle.dumps({"weight": 1}))
    tensors.write_bytes(len(b"{}").to_bytes(8, "little") + b"{}")
    for path in (pickled, archive):
        with pytest.raises(ValueError, match=r"\.pt: a pickle, as torch\.save makes.*safetensors\.torch\.save_file"):
            lp.load(path)
    with pytest.raises(ValueError, match=r"a safetensors file: lpnet\.interop\.safetensors\.load"):
        lp.load(tensors)
