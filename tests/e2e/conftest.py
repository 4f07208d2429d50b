"""The fixtures of harness.py, for the tests in this folder (python/tests takes them from there, too)."""

import pytest

pytest.register_assert_rewrite("harness")

# Tests import these by name from here; fixtures count as defined here.
from harness import (  # noqa: E402, F401
    PROGRAMS, ROOT, SECONDS, Broker, Process, broker, brokers, directory, durable_broker,
    environment, finish, free_endpoint, preload, processes, wait_until, workers)


@pytest.fixture
def made():
    """Peers that are closed when their broker has stopped, so that it need not wait for them."""
    peers = []
    yield peers
    for peer in peers:
        peer.close()
