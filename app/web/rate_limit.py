"""How often one address may ask: a bucket per network in this process's memory, which forgets the oldest ones."""

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock


class RateLimit:
    """Lets `burst` calls through at once, then one per `seconds`; a reset process forgives everything."""

    def __init__(
        self, burst: int, seconds: float, *, most: int = 10_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._burst, self._seconds, self._most, self._clock = burst, seconds, most, clock
        self._full_at: OrderedDict[str, float] = OrderedDict()
        self._lock = Lock()

    def allows(self, address: str) -> bool:
        """Tell whether this address may ask now, and count it if so."""
        network, now = _network(address), self._clock()
        with self._lock:
            full_at = max(self._full_at.pop(network, now), now)
            allowed = full_at + self._seconds - now <= self._burst * self._seconds
            self._full_at[network] = full_at + self._seconds if allowed else full_at
            while len(self._full_at) > self._most:
                self._full_at.popitem(last=False)
        return allowed


def _network(address: str) -> str:
    """Return the address, or the /64 of an IPv6 one: a single customer has all of it."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    return str(ipaddress.ip_network(f"{found}/64", strict=False)) if found.version == 6 else str(found)
