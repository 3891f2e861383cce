"""A store on a network file system is warned about; which one a folder lies on, by a table of mounts."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from bench import network_fs
from bench.store import Store


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """``tmp_path`` is local, with two servers mounted in it, one hidden again by a local disk."""
    file = tmp_path / "mounts"
    lines = [
        "/dev/disk / ext4 rw 0 0",
        f"server:/home {tmp_path}/my\\040home nfs4 rw 0 0",
        f"sshfs#host: {tmp_path}/far fuse.sshfs rw 0 0",
        f"server:/old {tmp_path}/hidden nfs rw 0 0",
        f"/dev/other {tmp_path}/hidden xfs rw 0 0",
        f"tmpfs {tmp_path}/my\\040home/scratch tmpfs rw 0 0",
        "broken",
    ]
    file.write_text("\n".join(lines) + "\n")
    return file


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("store", "ext4"),
        ("my home/a/b", "nfs4"),
        ("my home", "nfs4"),
        ("my homework", "ext4"),
        ("my home/scratch/store", "tmpfs"),
        ("far/store", "fuse.sshfs"),
        ("hidden/store", "xfs"),
    ],
)
def test_the_deepest_and_latest_mount_counts(tmp_path: Path, table: Path, folder: str, kind: str) -> None:
    mount = network_fs.mount_of(tmp_path / folder, table)
    assert mount is not None
    assert mount.kind == kind
    warned = network_fs.warning(tmp_path / folder, table)
    assert bool(warned) == mount.network == (kind in {"nfs4", "fuse.sshfs"})


def test_a_link_to_a_server_is_found_out(tmp_path: Path, table: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "near").symlink_to(tmp_path / "far")
    assert "fuse.sshfs" in network_fs.warning(tmp_path / "near" / "store", table)


def test_without_a_table_nothing_is_said(tmp_path: Path) -> None:
    assert network_fs.mount_of(tmp_path, tmp_path / "none") is None
    assert network_fs.warning(tmp_path, tmp_path / "none") == ""


def test_every_opening_for_writing_warns_once_and_works(
    tmp_path: Path, table: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(network_fs, "MOUNTS", table)
    with caplog.at_level(logging.WARNING):
        Store.open(tmp_path / "store").close()
        assert not caplog.records
        Store.open(tmp_path / "far" / "store").close()
        (record,) = caplog.records
        assert "network file system" in record.getMessage() and "--media-root" in record.getMessage()
        Store.open(tmp_path / "far" / "store", write=False).close()
        assert len(caplog.records) == 1
