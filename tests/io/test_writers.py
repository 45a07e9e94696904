"""Files that appear whole, and what is no file."""

from __future__ import annotations

import errno
import os
import stat
import threading

import pytest

from featdiv.io.writers import replacing

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no pipes and devices among its files")


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path):
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    with replacing(pipe) as file:
        file.write(b"text")
    reader.join(20)
    assert got == [b"text"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert os.listdir(tmp_path) == ["pipe"]


def test_a_device_is_written_to_and_a_full_one_is_named(tmp_path):
    device = tmp_path / "full"
    try:
        os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 7))
        device.open("wb").close()
    except (OSError, AttributeError):
        pytest.skip("this user cannot make devices here")
    with pytest.raises(OSError, match="full") as caught, replacing(device) as file:
        file.write(b"text")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(device))
    assert stat.S_ISCHR(device.stat().st_mode)


def test_a_directory_is_no_place_to_write_to(tmp_path):
    with pytest.raises(OSError, match="directory"), replacing(tmp_path / ".") as file:
        file.write(b"text")
