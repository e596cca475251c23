"""Processes gathered into programs."""

import pytest

from app.agent.programs import (
    OTHER,
    Group,
    Key,
    Process,
    cores_by_process,
    gather_others,
    groups_of,
    is_worth_it,
    program_of,
)

MIB = 2**20


@pytest.mark.parametrize(
    ("name", "executable", "command", "program"),
    [
        ("postgres", "/usr/lib/postgresql/17/bin/postgres", ["postgres: walwriter"], "postgres"),
        ("sshd", "", [], "sshd"),
        ("nginx", "/usr/sbin/nginx (deleted)", ["nginx: worker"], "nginx"),
        ("python", "/usr/bin/python3.11", ["python", "-m", "app.agent"], "python app.agent"),
        ("uvicorn", "/v/bin/python3.13", ["/v/bin/python", "/v/bin/uvicorn", "asgi:app"], None),
        (
            "python3",
            "/usr/bin/python3",
            ["python3", "-W", "error", "manage.py"],
            "python manage.py",
        ),
        ("python3", "/usr/bin/python3", ["python3", "-c", "import secret"], "python"),
        ("bash", "/usr/bin/bash", ["bash", "/opt/run.sh", "--password=x"], "bash run.sh"),
        ("bash", "/usr/bin/bash", ["-bash"], "bash"),
        ("java", "/usr/bin/java", ["java", "-Xmx1g", "-jar", "/srv/app.jar"], "java app.jar"),
        ("node", "/usr/bin/node", ["node", "--require", "x.js", "server.js"], "node server.js"),
        ("bash", "/usr/bin/bash", ["bash", "/dev/fd/3"], "bash"),
        ("bash", "/usr/bin/bash", ["bash", "-lc", "secret"], "bash"),
        ("bash", "/usr/bin/bash", ["bash", "-o", "pipefail", "run.sh"], "bash run.sh"),
        ("bash", "/usr/bin/bash", ["bash", "-x", "PASSWORD=secret"], "bash"),
        ("perl", "/usr/bin/perl", ["perl", "-ne", "secret"], "perl"),
        ("node", "/usr/bin/node", ["node", "-p", "secret"], "node"),
        ("python3", "/usr/bin/python3", ["python3", "-Ic", "secret"], "python"),
        ("python3", "/usr/bin/python3", ["python3", "-u", "-"], "python"),
        ("php", "/usr/bin/php8.2", ["php", "-d", "x=y", "artisan"], "php artisan"),
        ("ruby", "/usr/bin/ruby", ["ruby", "/srv/bin/puma", "secret"], "ruby puma"),
        ("java", "/usr/bin/java", ["java", "-ea", "-cp", "x.jar", "com.x.Main"], "java com.x.Main"),
        ("bad\udcff\x07", "", [], "bad??"),
        ("", "", [], "unnamed"),
    ],
)
def test_program_is_the_executable_or_what_an_interpreter_runs(name, executable, command, program):
    assert program_of(name, executable, command) == (program or "python uvicorn")


def test_long_names_are_cut():
    assert len(program_of("x" * 5_000, "", [])) == 200


def process(pid, *, program="p", cpu=0.0, rss=0, shared=0, pss=None, started_at=1.0):
    return Process(Key(pid, started_at), program, cpu, rss, shared, pss)


def test_cores_are_the_time_spent_and_a_new_process_counts_whole():
    before = {each.key: each for each in (process(1, cpu=10.0), process(2, cpu=3.0))}
    after = [process(1, cpu=12.5), process(3, cpu=1.0)]
    assert cores_by_process(before, after, since=2.0, seconds=5.0) == {
        Key(1, 1.0): 0.5,
        Key(3, 1.0): 0.2,
    }


def test_number_used_again_is_another_process():
    before = {Key(1, 1.0): process(1, cpu=100.0)}
    after = [process(1, cpu=2.0, started_at=9.0)]
    assert cores_by_process(before, after, since=8.0, seconds=4.0) == {Key(1, 9.0): 0.5}


def test_process_that_was_there_but_unseen_does_not_count_its_whole_life():
    after = [process(1, cpu=36_000.0, started_at=1.0)]
    assert cores_by_process({}, after, since=90.0, seconds=5.0) == {Key(1, 1.0): 0.0}


def test_shared_memory_is_counted_once_with_pss_and_without():
    proportional = [process(1, rss=100, shared=80, pss=60), process(2, rss=100, shared=80, pss=60)]
    assert groups_of(proportional, None)["p"].memory_bytes == 120
    unreadable = [process(1, rss=100, shared=80), process(2, rss=90, shared=70)]
    assert groups_of(unreadable, None)["p"].memory_bytes == 20 + 20 + 80


def test_group_is_as_old_as_its_oldest_process_and_sums_its_cores():
    processes = [process(1, started_at=5.0), process(2, started_at=3.0)]
    group = groups_of(processes, {Key(1, 5.0): 0.25, Key(2, 3.0): 0.5})["p"]
    assert (group.started_at, group.processes, group.cpu_cores) == (3.0, 2, 0.75)


@pytest.mark.parametrize(
    ("memory_bytes", "cores", "is_named"),
    [(16 * MIB, 0.0, True), (MIB, 0.01, True), (MIB, 0.001, False), (MIB, None, False)],
)
def test_small_programs_have_no_name_of_their_own(memory_bytes, cores, is_named):
    assert is_worth_it(Group(1.0, 1, cores, memory_bytes)) is is_named


def test_the_rest_is_gathered_and_nothing_is_lost():
    groups = {
        "big": Group(5.0, 1, 0.5, 100),
        "small": Group(3.0, 2, 0.001, 10),
        "tiny": Group(9.0, 1, None, 1),
    }
    gathered = gather_others(groups, {"big"})
    assert set(gathered) == {"big", OTHER}
    assert gathered[OTHER] == Group(3.0, 3, 0.001, 11)
    assert set(gather_others(groups, set(groups))) == set(groups)
