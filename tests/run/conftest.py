"""What several tests of whole runs start from."""

from collections.abc import Iterator

import pytest
from namespaces import Network, NotHere, Twin


@pytest.fixture
def network() -> Iterator[Network]:
    """Two hosts with a cable that can be cut; skips the test where none can be made."""
    try:
        made = Network()
    except NotHere as why:
        pytest.skip(str(why))
    yield made
    made.close()


@pytest.fixture
def twin(network: Network) -> Iterator[Twin]:
    """A simulator in that network."""
    running = Twin(network)
    yield running
    running.stop()
