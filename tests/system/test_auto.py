"""What "auto" comes to where we may not use all of the machine, as `watcherd config` shows it."""

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path

import pytest

PERIOD = 100_000  # microseconds

#: Where a group with few cores can be made, and what is written to it, in the second and the first version.
HIERARCHIES = {
    "v2": (Path("/sys/fs/cgroup"), {"cpu.max": "{quota} {period}"}),
    "v1": (Path("/sys/fs/cgroup/cpu"), {"cpu.cfs_period_us": "{period}", "cpu.cfs_quota_us": "{quota}"}),
}


@pytest.fixture
def chosen(site):
    """Return a function that says what each "auto" comes to for a command with this prefix."""

    def choosing(*prefix):
        told = site.command("config", "--json", prefix=prefix)
        assert told.returncode == 0, told.stderr
        return {key: fact["chosen"] for key, fact in json.loads(told.stdout).items() if "chosen" in fact}

    return choosing


@pytest.fixture(params=HIERARCHIES)
def limited(request):
    """Return a function that makes the prefix of a command in a group of our own with so many cores."""
    root, limits = HIERARCHIES[request.param]
    group = root / f"watcherd-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no group can be made here in {root}: {error.strerror}")
    if not all((group / name).exists() for name in limits):
        group.rmdir()
        pytest.skip(f"{root} does not limit processors here")

    def limiting(cores):
        for name, value in limits.items():
            (group / name).write_text(value.format(quota=int(cores * PERIOD), period=PERIOD))
        return ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"]

    yield limiting
    with suppress(OSError):
        group.rmdir()


def test_workers_are_as_many_as_the_cores_we_may_run_on(chosen, lacking):
    if shutil.which("taskset") is None:
        lacking("taskset is not installed")
    core = min(os.sched_getaffinity(0))
    one = chosen("taskset", "--cpu-list", str(core))
    assert (one["text.workers"], one["image.workers"]) == (1, 1)
    assert chosen()["text.workers"] == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(("cores", "workers"), [(0.5, 1), (1.0, 1), (1.5, 2)])
def test_workers_are_as_many_as_a_group_s_quota_lets_run(chosen, limited, cores, workers):
    here = chosen(*limited(cores))
    assert here["text.workers"] == here["image.workers"] == min(workers, len(os.sched_getaffinity(0)))


def test_a_chunk_of_text_is_chosen_too(chosen):
    assert chosen()["text.chunk"].endswith(("KiB", "MiB"))
