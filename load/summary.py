"""What a load run prints: requests per second, latencies and failures, by kind of request."""

from locust.env import Environment
from locust.stats import StatsEntry

HEADER = f"{'request':<52} {'count':>7} {'req/s':>8} {'p50':>7} {'p95':>7} {'p99':>7} {'failed':>7}"
RULE = "-" * len(HEADER)


def print_summary(environment: Environment) -> None:
    """Latencies are milliseconds as the client sees them."""
    stats = environment.stats
    entries = sorted(stats.entries.values(), key=lambda entry: (entry.name, entry.method or ""))
    rows = [describe_entry(f"{entry.method} {entry.name}", entry) for entry in entries]
    print("", HEADER, RULE, *rows, RULE, describe_entry("all", stats.total), "", sep="\n")
    print("Failures by kind:" if stats.errors else "No failures.")
    for error in stats.errors.values():
        print(f"  {error.occurrences:>6} × {error.method} {error.name}: {error.error}")


def describe_entry(name: str, entry: StatsEntry) -> str:
    p50, p95, p99 = (entry.get_response_time_percentile(part) or 0 for part in (0.50, 0.95, 0.99))
    return (
        f"{name[:52]:<52} {entry.num_requests:>7} {entry.total_rps:>8.1f} "
        f"{p50:>7.0f} {p95:>7.0f} {p99:>7.0f} {entry.num_failures:>7}"
    )
