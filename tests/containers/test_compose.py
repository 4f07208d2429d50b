"""docker-compose.yml as it stands: workers in containers of their own, ups, downs and kills.

One stack for all tests of this file; each leaves it as it found it.
"""

from conftest import WORKERS, wait_until


def cycles_by_container(stack):
    """Reports that the broker has accepted, by host name of the worker: a container's id."""
    cycles = {}
    for worker in stack.json("workers"):
        host = worker["name"].split(":")[0]
        cycles[host] = cycles.get(host, 0) + worker["reports_ok_total"]
    return cycles


def containers_at_work(stack, count=2):
    """Once workers in so many containers have reported."""
    return [cycles for cycles in [cycles_by_container(stack)]
            if sum(each > 0 for each in cycles.values()) >= count]


def note(stack, url):
    return stack.json("get", url, "--queue", "hosts").get("note", "")


def books(stack):
    """Of one moment; what is out at workers is counted as such."""
    stats = stack.json("stats")
    assert stats["records"] == stats["created_total"] - stats["removed_total"]
    assert stats["records"] == sum(
        stats[state] for state in ["waiting", "ready", "leased", "parked"])
    assert (stats["parked"], stats["reports_failed_total"]) == (0, 0)
    return stats


def test_workers_in_several_containers_count_cycles(stack):
    wait_until(stack.answers, what="the broker's answer")
    found, = wait_until(lambda: containers_at_work(stack), what="reports of two containers")
    print(f"cycles by container: {found}")
    wait_until(lambda: len(cycles_by_container(stack)) == WORKERS, what="all workers")
    assert set(cycles_by_container(stack)) == {
        stack.inspect(container, "{{.Config.Hostname}}") for container in stack.ids("worker")}


def test_the_list_was_synced_and_its_servers_are_checked(stack):
    wait_until(lambda: stack.json("stats", "--queue", "hosts")["records"] == 6, what="the sync")
    sync, = stack.ids("sync")
    wait_until(lambda: stack.inspect(sync, "{{.State.Status}} {{.State.ExitCode}}") == "exited 0",
               what="the end of the sync")
    for url, state in [("http://shop:8080/", "OK: 200"), ("http://blog:8080/", "OK: 200"),
                       ("http://shop:8080/moved.html", "WARNING: 404"),
                       ("http://nobody:8080/", "CRITICAL: ")]:
        wait_until(lambda: note(stack, url).startswith(state), what=f"{state} of {url}")


def test_the_broker_is_healthy_and_has_no_rights(stack):
    wait_until(lambda: stack.health() == "healthy", what="a healthy broker")
    assert stack.command("exec", "broker", "id", "-u").stdout.strip() == "7790"
    assert stack.command("exec", "broker", "touch", "/new", check=False).returncode != 0
    broker, = stack.ids("broker")
    assert stack.inspect(broker, "{{.HostConfig.ReadonlyRootfs}}") == "true"
    status = stack.command("exec", "broker", "cat", "/proc/1/status").stdout.split("\n")
    assert {"CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"} <= set(status)


def test_who_has_no_key_gets_nothing(stack):
    stranger = stack.command("exec", "shop", "everdue", "-e", "tcp://broker:7790", "ping",
                             check=False)
    assert stranger.returncode == 77 and "wants keys" in stranger.stderr
    for path in ["/etc/everdue/broker.key", "/etc/everdue-worker/broker.key"]:
        assert stack.command("exec", "worker", "test", "-e", path, check=False).returncode != 0


def test_a_server_that_stops_is_noted_by_workers_in_containers(stack):
    stack.command("stop", "shop")
    wait_until(lambda: note(stack, "http://shop:8080/").startswith("CRITICAL: "), what="the note")
    stack.command("start", "shop")
    wait_until(lambda: note(stack, "http://shop:8080/").startswith("OK: 200"), what="the note")


def test_records_are_still_there_after_down_and_up(stack):
    stack.everdue("put", "kept", '{"kept": true}', "--queue", "kept")
    stack.compose("down")
    assert stack.ids("broker") == []
    stack.up()
    wait_until(stack.answers, what="the broker's answer")
    assert stack.json("get", "kept", "--queue", "kept")["payload"] == {"kept": True}
    wait_until(lambda: containers_at_work(stack), what="reports of two containers")
    assert books(stack)["created_total"] == 7


def test_nothing_is_lost_when_the_broker_is_killed(stack):
    wait_until(lambda: containers_at_work(stack), what="reports of two containers")
    before = books(stack)["reports_ok_total"]
    stack.command("kill", "broker", "--signal", "KILL")
    stack.command("start", "broker")
    wait_until(stack.answers, what="the broker's answer")
    wait_until(lambda: len(cycles_by_container(stack)) == WORKERS, what="the workers by themselves")
    wait_until(lambda: containers_at_work(stack), what="reports of two containers")
    after = books(stack)
    assert after["created_total"] == 7 and after["reports_ok_total"] > before
    assert stack.json("get", "kept", "--queue", "kept")["payload"] == {"kept": True}
    wait_until(lambda: stack.health() == "healthy", what="a healthy broker")


def test_the_killed_workers_records_are_checked_by_the_others(stack):
    """A container that is killed gives nothing back; its records come round again all the same."""
    stack.command("kill", "worker", "--signal", "KILL")
    before = stack.json("stats", "--queue", "hosts")["reports_ok_total"]
    wait_until(lambda: stack.json("stats", "--queue", "hosts")["reports_ok_total"] > before + 6,
               what="further cycles")
    stack.command("start", "worker")
    wait_until(lambda: len(cycles_by_container(stack)) == WORKERS, what="all workers")
    assert books(stack)["created_total"] == 7
