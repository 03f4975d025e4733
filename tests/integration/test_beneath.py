"""What lies beneath a root can be opened, and nothing else, whatever is swapped in."""

from __future__ import annotations

import errno
import os
import socket
from threading import Thread

import pytest

from watcherd import beneath


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root/a/b").mkdir(parents=True)
    (tmp_path / "root/a/b/c.txt").write_text("inside")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/c.txt").write_text("outside")
    (tmp_path / "secret/b").mkdir()
    (tmp_path / "secret/b/c.txt").write_text("outside")
    return tmp_path / "root"


def read(root, path):
    with beneath.file(str(root), path) as (descriptor, status):
        content = os.read(descriptor, 100)
        assert beneath.version_of(status).size == len(content)
        return content


def open_descriptors():
    return len(os.listdir("/proc/self/fd"))


def test_a_file_is_read_with_its_status(root):
    assert read(root, "a/b/c.txt") == b"inside"


def test_a_root_may_itself_be_a_link(root, tmp_path):
    (tmp_path / "link").symlink_to(root)
    assert read(tmp_path / "link", "a/b/c.txt") == b"inside"


@pytest.mark.parametrize("component", ["a", "a/b", "a/b/c.txt"])
def test_a_link_at_any_component_is_not_followed(root, tmp_path, component):
    target = {"a": "secret", "a/b": "secret/b", "a/b/c.txt": "secret/c.txt"}[component]
    os.rename(root / component, tmp_path / "away")
    (root / component).symlink_to(tmp_path / target)
    with pytest.raises(OSError, match=r".") as error:
        read(root, "a/b/c.txt")
    assert error.value.errno in {errno.ENOTDIR, errno.ELOOP, errno.EINVAL}


@pytest.mark.parametrize("path", ["../secret/c.txt", "a/../../secret/c.txt", "a/b/../../../secret/c.txt"])
def test_a_path_does_not_lead_upwards(root, path):
    with pytest.raises(OSError, match="does not lead upwards"):
        read(root, path)


def test_an_absolute_path_is_one_beneath_the_root(root, tmp_path):
    with pytest.raises(FileNotFoundError):
        read(root, str(tmp_path / "secret/c.txt"))


def test_a_fifo_is_never_opened(root):
    os.mkfifo(root / "fifo")
    with pytest.raises(OSError, match="not a regular file"):
        read(root, "fifo")
    with pytest.raises(OSError, match=r".") as error:  # nobody reads: nobody has opened it
        os.open(root / "fifo", os.O_WRONLY | os.O_NONBLOCK)
    assert error.value.errno == errno.ENXIO


def test_a_fifo_that_is_swapped_in_after_the_look_does_not_block(root, monkeypatch):
    real = os.lstat

    def swaps(*args, **keywords):
        status = real(*args, **keywords)
        monkeypatch.undo()
        os.unlink(root / "a/b/c.txt")
        os.mkfifo(root / "a/b/c.txt")
        return status

    monkeypatch.setattr(os, "lstat", swaps)
    before = open_descriptors()
    with pytest.raises(OSError, match="not a regular file"):
        read(root, "a/b/c.txt")
    assert open_descriptors() == before


def test_folders_and_sockets_are_no_files(root):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(root / "socket"))
        for name in ("a", "socket"):
            with pytest.raises(OSError, match="not a regular file"):
                read(root, name)


def test_a_folder_that_is_swapped_while_it_is_walked_never_leads_outside(root, tmp_path):
    going = True

    def swap():
        while going:
            os.rename(root / "a/b", tmp_path / "away")
            (root / "a/b").symlink_to(tmp_path / "secret")
            os.unlink(root / "a/b")
            os.rename(tmp_path / "away", root / "a/b")

    swapping = Thread(target=swap)
    swapping.start()
    try:
        for _ in range(2000):
            try:
                assert read(root, "a/b/c.txt") == b"inside"
            except OSError as error:
                assert error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}  # noqa: PT017
    finally:
        going = False
        swapping.join()


@pytest.mark.parametrize("name", [os.fsdecode(b"\xff\xfe"), "two\nlines", "x" * 255, "é" * 127, " "])
def test_names_are_bytes_to_the_kernel(root, name):
    (root / "a" / name).mkdir()
    (root / "a" / name / name).write_bytes(b"inside")
    assert read(root, f"a/{name}/{name}") == b"inside"


def test_no_descriptor_is_left_open_by_success_or_failure(root):
    before = open_descriptors()
    read(root, "a/b/c.txt")
    for path in ("a/b/missing", "a/missing/c.txt", "a/b/c.txt/d", "../x", "a/b"):
        with pytest.raises(OSError, match=r"."):
            read(root, path)
    assert open_descriptors() == before


def test_missing_folders_are_made_where_that_is_asked_for(root):
    with beneath.folder(str(root), "x/y", make=True) as made:
        assert os.path.samestat(os.fstat(made), os.stat(root / "x/y"))
    with beneath.folder(str(root), "x/y", make=True):
        pass
    with pytest.raises(FileNotFoundError), beneath.folder(str(root), "x/z"):
        pass


def test_our_own_folder_is_made_for_our_eyes_alone(root):
    with beneath.folder(str(root), "x/.watcherd", make=True) as made:
        assert os.fstat(made).st_mode & 0o777 == 0o700


def test_a_folder_whose_file_system_knows_no_sync_of_folders_is_passed_and_other_errors_are_told():
    folder = os.open("/proc", os.O_RDONLY)
    beneath.sync_names(folder)
    os.close(folder)
    with pytest.raises(OSError, match="Bad file descriptor"):
        beneath.sync_names(1 << 20)


def test_no_folder_is_made_through_a_link(root, tmp_path):
    (root / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(NotADirectoryError), beneath.folder(str(root), "link/made", make=True):
        pass
    assert not (tmp_path / "secret/made").exists()


def test_the_status_of_what_is_not_there_is_none(root):
    found = beneath.status(str(root), "a/b/c.txt")
    assert found is not None
    assert found.st_size == 6
    assert beneath.status(str(root), "a/b/missing") is None
    assert beneath.status(str(root), "missing/c.txt") is None
    assert beneath.status(str(root), "a/b/c.txt/d") is None


def test_the_status_of_a_link_is_its_own(root, tmp_path):
    (root / "link").symlink_to(tmp_path / "secret/c.txt")
    assert beneath.version_of(beneath.status(str(root), "link")) == beneath.version_of(os.lstat(root / "link"))


@pytest.mark.parametrize(("path", "parts"), [("a", ("", "a")), ("a/b", ("a", "b")), ("a/b/c", ("a/b", "c"))])
def test_a_path_splits_into_folder_and_name(path, parts):
    assert beneath.split(path) == parts


# One after the other --------------------------------------------------------------------------------------------


def test_nearby_leads_where_the_plain_way_does_from_folder_to_folder_and_root_to_root(root):
    (root / "a/d.txt").write_text("beside")
    (root / "link").symlink_to(root.parent / "secret")
    before = open_descriptors()
    with beneath.Nearby() as nearby:
        for top, path in (
            (root, "a/b/c.txt"),
            (root, "a/b/missing.txt"),
            (root, "a/b/c.txt"),
            (root, "a/d.txt"),
            (root, "gone/c.txt"),
            (root, "link/c.txt"),
            (root.parent / "secret", "b/c.txt"),
            (root / "a", "b/c.txt"),
            (root, "a/../../secret/c.txt"),
        ):
            assert read_nearby(nearby, top, path) == plainly(top, path), path
            assert open_descriptors() <= before + 1
    assert open_descriptors() == before


def read_nearby(nearby, root, path):
    try:
        descriptor, _ = beneath.open_file(*nearby.parent(str(root), path))
    except OSError as error:
        return error.errno
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def plainly(root, path):
    try:
        return read(root, path)
    except OSError as error:
        return error.errno


@pytest.mark.parametrize(("name", "levels"), [("d", 1100), ("d" * 200, 25)], ids=["deep", "long"])
def test_a_tree_is_seen_to_its_end_however_deep_and_long(root, deep, name, levels):
    os.close(os.open("bad.txt", os.O_CREAT, dir_fd=deep(root, name, levels)))
    refused = []
    found = dict(beneath.tree(str(root), lambda _: True, refused.append))
    assert found["/".join([name] * levels)] == ["/".join([*[name] * levels, "bad.txt"])]
    assert found["a/b"] == ["a/b/c.txt"]
    assert (len(found), refused) == (levels + 3, [])


def test_what_of_a_tree_cannot_be_listed_is_told_by_its_name_from_the_top(root):
    refused = []
    (root / "a").rename(root / "other")
    (root / "a").symlink_to(root.parent / "secret")

    def enters(folder):
        if folder == "other/b":
            (root / folder).rename(root / "elsewhere")
        return True

    assert dict(beneath.tree(str(root), enters, refused.append)) == {"": ["a"], "other": []}
    assert [(error.errno, error.filename) for error in refused] == [(errno.ENOENT, f"{root}/other/b")]
