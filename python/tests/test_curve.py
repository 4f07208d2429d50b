"""The package against a broker with keys and a list of peers."""

import pytest

from conftest import finish, wait_until
from everdue import Client, Curve, NotAllowed, Refused, Status
from everdue.compat import HeapManager
from guarded import House


@pytest.fixture
def house(directory, free_endpoint):
    house = House(directory, free_endpoint())
    house.write_list(boss="role=admin", web="role=worker queues=q")
    house.start()
    yield house
    house.close()
    finish([house.process])


@pytest.fixture
def curve(house):
    """The keys of somebody, from files as the programs take them."""
    def load(name):
        return Curve.load(f"{house.keys['broker'].path}.pub", house.key(name).path)

    return load


def test_client_and_heap_with_keys(house, curve):
    with Client(house.endpoint, curve=curve("boss")) as client:
        assert client.put("a", queue="q") == Status.CREATED
    with HeapManager(house.endpoint, queue="q", curve=curve("boss")) as heap:
        assert heap.pop() == "a"


def test_a_worker_with_keys(house, curve, python_workers, seen):
    with Client(house.endpoint, curve=curve("boss")) as client:
        client.put("a", queue="q")
        python_workers(house, """
            def run(task):
                note(task.key)
                return {"in": "1h"}
        """, "-n", 1, "--queue", "q", *house.flags("web"))
        wait_until(seen)
        wait_until(lambda: client.get("a", queue="q").state_name == "waiting")


def test_a_key_that_is_not_on_the_list_is_refused(house, curve, python_workers):
    with pytest.raises(NotAllowed, match="refused this key"):
        Client(house.endpoint, curve=curve("stranger")).put("a")
    worker = python_workers(house, "def run(task): pass", "-n", 2, *house.flags("stranger"))
    assert worker.wait() == 77 and "refused this key" in worker.text()
    worker.expected.add(77)


def test_a_key_that_is_let_in_later_needs_no_other_client(house, curve):
    client = Client(house.endpoint, curve=curve("late"))
    with pytest.raises(NotAllowed):
        client.put("a")
    house.allow(late="role=admin")
    assert client.put("a") == Status.CREATED
    client.close()


def test_what_a_key_may_not_do_is_denied(house, curve):
    with pytest.raises(Refused) as refused:
        Client(house.endpoint, curve=curve("web")).put("a", queue="q")
    assert refused.value.status == Status.DENIED


def test_keys_are_read_from_text_and_files_and_kept_out_of_sight(house, curve):
    key, broker = house.key("boss"), house.keys["broker"]
    by_file, by_text = curve("boss"), Curve.load(broker.public, key.path)
    assert by_file == by_text == Curve.load(broker.path, key.path)
    assert by_file.public_key == key.public and key.secret not in repr(by_file)
    with pytest.raises(ValueError, match="is no key"):
        Curve.load(__file__, key.path)
    with pytest.raises(ValueError, match="no pair of keys"):
        Curve.load(broker.public, f"{broker.path}.pub")
    with pytest.raises(OSError):
        Curve.load(broker.public, key.path.with_name("nobody"))
    key.path.chmod(0o640)
    with pytest.raises(ValueError, match="can be read by others"):
        curve("boss")
