"""The density of a host computed container by container, with no columns: what `app.fleet` must
equal to the last bit.
"""

from collections import Counter
from datetime import timedelta
from math import fsum

SUMS = ("reservations", "limits", "use", "use_p95")


def count(measure, floor):
    """(reservation, limit, use, P95), and the basis of each."""
    reservation, limit, current, p95 = measure
    reservation, limit = (
        value if value is not None and value >= 1e-9 else None for value in (reservation, limit)
    )
    bases = ["declared", "declared", "sample", "sample"]
    if reservation is None:
        reservation = max(floor, p95 or 0.0)
        if limit is not None:
            reservation = min(reservation, limit)
        bases[0] = "p95" if (p95 or 0.0) >= floor else "floor"
    if current is None:
        current, bases[2] = (p95, "p95") if p95 is not None else (reservation, "assumed")
    if p95 is None:
        p95, bases[3] = reservation, "assumed"
    if limit is None:
        limit, bases[1] = max(reservation, p95), "stand_in"
    return (reservation, limit, current, p95), bases


def tell_host(host, *, at, policy):
    """The containers and the sums of `HostDensity.as_dict(with_containers=True)`."""
    oldest = at - timedelta(seconds=policy.stale_after_seconds)
    floors = {"cpu": policy.cpu_floor_cores, "memory": policy.memory_floor_bytes}
    containers, sums = [], {}
    for one in host.containers:
        flags = ["stale"] if one.heard_at is None or one.heard_at < oldest else []
        flags += [] if one.samples else ["unmeasured"]
        told = {}
        for name, floor in floors.items():
            amounts, bases = count(getattr(one, name), floor)
            flags += [f"unlimited:{name}"] if bases[1] == "stand_in" else []
            flags += [f"unreserved:{name}"] if bases[0] != "declared" else []
            told[name] = {}
            for key, amount, basis in zip(
                ("reservation", "limit", "use", "use_p95"), amounts, bases, strict=True
            ):
                told[name] |= {key: amount, f"{key}_basis": basis}
        about = {"id": one.id, "name": one.name, "state": one.state, "flags": flags}
        heard_at = one.heard_at and one.heard_at.isoformat()
        containers.append({**about, "samples": one.samples, "heard_at": heard_at, **told})
    for name in floors:
        keys = ("reservation", "limit", "use", "use_p95")
        of = {
            total: fsum(one[name][key] for one in containers)
            for total, key in zip(SUMS, keys, strict=True)
        }
        basis = {
            total: dict(Counter(one[name][f"{key}_basis"] for one in containers))
            for total, key in zip(SUMS, keys, strict=True)
        }
        sums[name] = (of, basis)
    return containers, sums
