import pytest

from harness.live.protocol import Clock
from harness.live.repeats import SUSPICIOUS, remembers, representatives, unique_over_repeated
from harness.live.verdict import Ratio


class Network:
    """5 ms a batch; one that remembers takes 1 ms for what it has seen."""

    def __init__(self, *, honest: bool) -> None:
        self.now, self.seen, self.honest, self.loaded = 0, set(), honest, set()

    def __call__(self, item):
        assert item in self.loaded
        self.now += 5_000_000 if self.honest or item not in self.seen else 1_000_000
        self.seen.add(item)

    def ratio(self, shapes):
        def prepare(items):
            self.loaded = set(items)

        clock = Clock(lambda: self.now, lambda: self.now)
        return unique_over_repeated(self, shapes, prepare=prepare, clock=clock)


def test_every_batch_has_a_representative_of_its_shape():
    assert representatives([(1, 7), (1, 9), (1, 7), (1, 9), (1, 4)]) == [0, 1, 0, 1, 4]


def test_an_honest_network_takes_its_time_for_repeated_inputs():
    found = Network(honest=True).ratio([(1, 7 + item % 3) for item in range(60)])
    assert found == (1, 1, 1)
    assert not remembers(found)


def test_a_network_that_remembers_is_noticed():
    network = Network(honest=False)
    found = network.ratio([(1, 7 + item % 3) for item in range(60)])
    assert found.low > 2
    assert remembers(found)
    assert network.seen == set(range(60))  # as many unique inputs as there are


def test_the_lower_end_decides():
    assert not remembers(Ratio(1.5, SUSPICIOUS, 2))
    assert not remembers(None)


@pytest.mark.parametrize("n", [1, 2])
def test_few_batches_are_enough_for_a_ratio(n):
    assert Network(honest=True).ratio([(1, 0)] * n).value == 1
