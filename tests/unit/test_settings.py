"""The state folder is private, local and writable, or refused with a remedy."""

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from governor import settings
from governor.errors import NotReady
from governor.settings import Home, home, prepare_home


def test_home_is_made_private(hotdesk_home: Home):
    assert hotdesk_home.root.stat().st_mode & 0o777 == 0o700
    assert hotdesk_home.out.is_dir()


def test_home_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HOTDESK_HOME", str(tmp_path / "elsewhere"))
    assert home().root == tmp_path / "elsewhere"


def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    Mount = namedtuple("Mount", "mountpoint fstype")
    monkeypatch.setattr(
        settings.psutil, "disk_partitions", lambda all: [Mount("/", "ext4"), Mount(str(tmp_path), "nfs4")]
    )
    with pytest.raises(NotReady, match="network file system") as caught:
        prepare_home(Home(tmp_path / "state"))
    assert "HOTDESK_HOME" in caught.value.remedy
    assert not (tmp_path / "state").exists()


def test_a_full_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1024)
    monkeypatch.setattr(settings.shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(NotReady, match="MiB are free"):
        prepare_home(Home(tmp_path / "state"))


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(NotReady, match="cannot be used"):
        prepare_home(Home(tmp_path / "file" / "state"))
