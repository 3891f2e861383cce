"""Whether a folder lies on a network file system, where SQLite's locks and shared memory cannot be relied on.

Linux alone: the kernel's table of mounts is read, and nothing is said where there is none.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import NamedTuple

log = logging.getLogger(__name__)

MOUNTS = Path("/proc/self/mounts")

#: Types, and names after ``fuse.``, of file systems that several machines write, or that a server keeps.
NETWORK = frozenset(
    [
        "9p",
        "acfs",
        "afs",
        "beegfs",
        "blobfuse",
        "blobfuse2",
        "ceph",
        "ceph-fuse",
        "cifs",
        "coda",
        "curlftpfs",
        "davfs2",
        "fhgfs",
        "gcsfuse",
        "gfs",
        "gfs2",
        "glusterfs",
        "goofys",
        "gpfs",
        "juicefs",
        "lustre",
        "mfs",
        "moosefs",
        "mount-s3",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "orangefs",
        "panfs",
        "pvfs2",
        "rclone",
        "s3fs",
        "seaweedfs",
        "smb2",
        "smb3",
        "smbfs",
        "sshfs",
        "wekafs",
    ]
)
_OCTAL = re.compile(r"\\([0-7]{3})")


class Mount(NamedTuple):
    """Where a file system of that type is mounted."""

    folder: Path
    kind: str

    @property
    def network(self) -> bool:
        """Whether it is one of :data:`NETWORK`."""
        return self.kind.removeprefix("fuse.") in NETWORK


def mount_of(folder: Path, table: Path | None = None) -> Mount | None:
    """The mount that ``folder`` (or the nearest of its parents that exists) lies on; ``None``: not known.

    ``table`` has the form of ``/proc/self/mounts``; a later line hides an earlier one of the same place.
    """
    try:
        lines = (table or MOUNTS).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None  # not Linux, or a container without it
    place = folder.resolve()
    found: Mount | None = None
    for line in lines:
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        mounted = Path(_OCTAL.sub(lambda match: chr(int(match[1], 8)), fields[1]))
        deepest = found is None or len(mounted.parts) >= len(found.folder.parts)
        if deepest and place.is_relative_to(mounted):
            found = Mount(mounted, fields[2])
    return found


def warning(folder: Path, table: Path | None = None) -> str:
    """What to say of a store in ``folder``; empty: nothing."""
    mount = mount_of(folder, table)
    if mount is None or not mount.network:
        return ""
    return (
        f"warning: {folder} is on a network file system ({mount.kind} at {mount.folder}): a store there can be damaged "
        "when machines share it, and is slow; keep --out on a local disk and give the shared folder as --media-root"
    )


def warn(folder: Path) -> None:
    """Log :func:`warning`, if there is one."""
    text = warning(folder)
    if text:
        log.warning("%s", text)
