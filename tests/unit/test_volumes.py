"""What may be believed of a file system, by its number and by its name."""

import pytest

from watcherd import volumes
from watcherd.volumes import LOCAL, is_distant, renumbers


@pytest.mark.parametrize(
    "name",
    ["9p", "afs", "ceph", "cifs", "coda", "fuse", "fuse.ceph-fuse", "fuse.glusterfs", "fuse.sshfs", "gfs2", "lustre",
     "ncpfs", "nfs", "nfs4", "smb3", "smbfs"],
)  # fmt: skip
def test_another_machine_or_any_program_may_hold_the_files_behind_these_names(name):
    assert is_distant(name)


@pytest.mark.parametrize("name", ["ext4", "tmpfs", "fuseblk", "fuse.bindfs", "one of which nobody heard"])
def test_a_ledger_may_lie_on_what_is_local_or_not_known(name):
    assert not is_distant(name)


def test_what_has_events_by_its_number_may_hold_a_ledger_by_its_name():
    assert not any(map(is_distant, LOCAL.values()))


@pytest.mark.parametrize(("number", "do_not_last"), [(0x4D44, True), (0x2011BAB0, True), (0xEF53, False)])
def test_the_inodes_of_fat_and_exfat_do_not_last(monkeypatch, number, do_not_last):
    monkeypatch.setattr(volumes, "number_of", lambda _: number)
    assert renumbers("/") is do_not_last
