"""Which folders may not be where they are, and what is mounted where."""

import os
from pathlib import Path

import pytest

from watcherd.settings import ConfigurationError, folders, load, machine, workers
from watcherd.settings.layers import Layer, Layers
from watcherd.settings.mounts import location, mount_of, mounts

TABLE = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 27 254:0 /srv/in/deep /mnt/bound rw,relatime shared:1 - ext4 /dev/vda rw
31 27 0:40 / /mnt/nfs ro,relatime - nfs4 server:/x ro
32 27 0:41 / /mnt/a\040b rw - fuse.sshfs me@there: rw
33 27 0:42 / /mnt/disk rw - fuseblk /dev/sdb1 rw
34 31 0:43 / /mnt/nfs rw - tmpfs tmpfs rw
"""


def problems(tmp_path, text, **environ):
    config = tmp_path / "watcherd.toml"
    config.write_text(text)
    try:
        load({}, {"STATE_DIRECTORY": str(tmp_path / "state")} | environ, tmp_path, config)
    except ConfigurationError as error:
        return [problem.message.replace(f"{tmp_path}/", "") for problem in error.problems]
    return []


def inbox(name, **folders):
    return f"[inbox.{name}]\n" + "".join(f'{key} = "{value}"\n' for key, value in folders.items())


def test_folders_beside_each_other_are_fine(tmp_path):
    assert problems(tmp_path, inbox("a", path="in", outbox="out") + inbox("b", path="b/in", outbox="b/out")) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (inbox("a", path="in", outbox="in/out"), "inbox.a.outbox = in/out lies in inbox.a.path = in"),
        (inbox("a", path="out/in", outbox="out"), "inbox.a.path = out/in lies in inbox.a.outbox = out"),
        (inbox("a", path="x", outbox="x"), "inbox.a.path = x is the same folder as inbox.a.outbox = x"),
        (inbox("a", path="in", outbox="out", failed="out/f"), "inbox.a.failed = out/f lies in inbox.a.outbox = out"),
        (
            inbox("a", path="in", outbox="o/a") + inbox("b", path="in2", outbox="p/b", archive="in"),
            "inbox.a.path = in is the same folder as inbox.b.archive = in",
        ),
        (
            inbox("a", path="in", outbox="o") + inbox("b", path="in2", outbox="o", archive="x", failed="y"),
            "inbox.a.outbox = o is the same folder as inbox.b.outbox = o",
        ),
        (inbox("a", path="state/in", outbox="out"), "inbox.a.path = state/in lies in state = state"),
    ],
)
def test_folders_that_lie_in_each_other_are_refused(tmp_path, text, said):
    assert said in problems(tmp_path, text)


def test_what_follows_from_a_misplaced_outbox_is_not_said_again(tmp_path):
    assert len(problems(tmp_path, inbox("a", path="in", outbox="in/out"))) == 1


def test_a_symbolic_link_does_not_hide_an_overlap(tmp_path):
    (tmp_path / "in/deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to("in/deep")
    assert "lies in" in problems(tmp_path, inbox("a", path="in", outbox="link", archive="x", failed="y"))[0]


@pytest.mark.parametrize("after", ["delete", "keep"])
def test_an_archive_that_is_not_used_may_lie_anywhere(tmp_path, after):
    assert problems(tmp_path, inbox("a", path="in", outbox="out", archive="in/archive", after=after)) == []


@pytest.fixture
def mounted(tmp_path, monkeypatch):
    """Return a function that has the kernel tell of other mounts."""

    def telling(table):
        (tmp_path / "mountinfo").write_bytes(table)
        monkeypatch.setattr("watcherd.settings.mounts._TABLE", tmp_path / "mountinfo")

    return telling


@pytest.fixture
def named(monkeypatch, mounted):
    def naming(table, identities=None, **roles):
        mounted(table.encode())
        if identities:
            monkeypatch.setattr(folders, "_identity", lambda path: identities.get(str(path), (1, hash(path))))
        layers = Layers((Layer("test", {"inbox": {"a": {key: Path(value) for key, value in roles.items()}}}),))
        return list(folders.problems(layers))

    return naming


def test_a_bind_mount_of_a_folder_in_the_inbox_is_an_overlap(named):
    (problem,) = named(TABLE, path="/srv/in", outbox="/mnt/bound/out")
    assert problem.message == "inbox.a.outbox = /mnt/bound/out lies in inbox.a.path = /srv/in"


def test_two_names_of_one_inode_are_an_overlap(named):
    same = {"/x/in": (7, 7), "/y/other": (7, 7)}
    (problem,) = named("", same, path="/x/in", outbox="/y/other/out")
    assert "lies in" in problem.message


def test_state_on_a_network_mount_is_refused(mounted):
    mounted(TABLE.encode())
    layers = Layers((Layer("test", {"state": Path("/mnt/a b/state")}),))
    (problem,) = folders.problems(layers)
    assert "network mount (fuse.sshfs)" in problem.message
    assert problem.mend == "choose a folder on a local disk"


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/mnt/a b/x", "fuse.sshfs"), ("/mnt/disk", "fuseblk"), ("/mnt/nfs/x", "tmpfs"), ("/", "ext4")],
)
def test_the_mount_of_a_path_is_the_deepest_and_latest(mounted, path, kind):
    mounted(TABLE.encode())
    mount = mount_of(Path(path), mounts())
    assert mount.kind == kind


@pytest.mark.parametrize("name", [b"a\rb", b"a\x0bb", "a\u2028b".encode(), b"a\xffb"])
def test_a_mount_may_have_any_name(mounted, name):
    mounted(TABLE.encode() + b"35 27 0:44 / /mnt/" + name + b" rw - tmpfs tmpfs rw\n")
    mount = mount_of(Path(os.fsdecode(b"/mnt/" + name + b"/x")), mounts())
    assert mount.device == "0:44"


def test_where_proc_tells_nothing_no_mount_is_known():
    assert mount_of(Path("/x"), []) is None
    assert location(Path("/x"), []) == ("", Path("/x"))


def test_the_real_table_knows_the_mount_of_everything(tmp_path):
    assert mount_of(tmp_path.resolve(), mounts()) is not None


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Return a function that has the kernel tell of other cgroups."""
    monkeypatch.setattr(machine, "_CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(machine, "_MEMBERSHIP", tmp_path / "membership")

    def making(membership, **files):
        for name, content in files.items():
            path = tmp_path / "cgroup" / name.replace("__", "/").replace("_DOT_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        (tmp_path / "membership").write_text(membership)

    return making


def test_a_quota_of_the_second_version_holds_also_from_a_group_around(groups):
    groups("0::/a/b\n", a__cpu_DOT_max="150000 100000", a__b__cpu_DOT_max="max 100000")
    assert machine.quota() == 1.5


def test_a_quota_of_the_first_version_holds(groups):
    files = {"cpu,cpuacct__cpu_DOT_cfs_quota_us": "50000\n", "cpu,cpuacct__cpu_DOT_cfs_period_us": "100000\n"}
    groups("4:cpu,cpuacct:/docker/far/away\n0::/\n", **files)
    assert machine.quota() == 0.5


def test_there_is_always_a_worker_and_never_more_than_cores(monkeypatch):
    assert 1 <= workers() <= len(os.sched_getaffinity(0))
    monkeypatch.setattr(machine, "quota", lambda: 0.25)
    assert workers() == 1


@pytest.mark.parametrize(
    ("caches", "chunk"),
    [
        ({"1": "48K", "2": "2048K", "3": "32768K"}, 768 << 10),
        ({"1": "32K", "2": "1024K"}, 640 << 10),
        ({"2": "16384K"}, 1 << 20),
        ({"1": "32K"}, 640 << 10),
        ({"2": "what"}, 640 << 10),
        ({}, 640 << 10),
    ],
)
def test_a_chunk_is_three_eighths_of_the_second_level_cache_of_a_core_within_reason(
    tmp_path, monkeypatch, caches, chunk
):
    monkeypatch.setattr(machine, "_PROCESSORS", tmp_path)
    for number, (level, size) in enumerate(caches.items()):
        cache = tmp_path / f"cpu{min(os.sched_getaffinity(0))}/cache/index{number}"
        cache.mkdir(parents=True)
        (cache / "level").write_text(f"{level}\n")
        (cache / "size").write_text(f"{size}\n")
    assert machine.chunk() == chunk


@pytest.mark.parametrize(
    ("written", "cores"),
    [
        ("max 100000", float("inf")),
        ("50000 100000", 0.5),
        ("100000 100000", 1.0),
        ("250000 100000", 2.5),
        ("150000 50000", 3.0),
        ("", float("inf")),
        ("50000", float("inf")),
        ("-1 100000", float("inf")),
        ("nonsense here", float("inf")),
    ],
)
def test_a_quota_is_read_as_the_kernel_writes_it(groups, written, cores):
    groups("0::/\n", cpu_DOT_max=f"{written}\n")
    assert machine.quota() == cores
    quota, _, period = written.partition(" ")
    old = {"cpu__cpu_DOT_cfs_quota_us": quota.replace("max", "-1"), "cpu__cpu_DOT_cfs_period_us": period}
    groups("1:cpu:/\n", **old)
    assert machine.quota() == cores


def test_memory_is_no_more_than_the_machine_has():
    assert 0 < machine.memory() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
