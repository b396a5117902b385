"""What a person sees of a measurement of the service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from patchbay.console import say, table

Found = Mapping[str, Any]


def show(found: Found) -> None:
    """Rows, ratios, overload, and what each server takes."""
    _show_rows(found)
    _show_comparisons(found)
    _say_overload(found["overload"])
    for name, peer in found["peers"].items():
        say(f"{name}: ready after {peer['startup_seconds']:.1f} s, {peer['rss_mib']:,.0f} MiB")
    generator = found["generator"]
    asked = ", ".join(
        f"{row['requests_per_second']:,.0f} at {row['clients']}" for row in generator["ceiling"]
    )
    say(
        f"the load generator got {asked} clients from a server that does nothing, and used at "
        f"most {generator['largest_cpu_share']:.0%} of its core in the rows above"
    )
    if found["cores"]["shared"]:
        say("there is one core only: the load generator took its time from the servers")


def _show_rows(found: Found) -> None:
    multiply_adds = found["subject"]["multiply_adds"]
    table(
        f"Weak model of {multiply_adds['weak']:,} multiply-adds, class module of "
        f"{multiply_adds['module']:,}, random weights; one core",
        ("", "payload", "load", "requests/s", "p50 ms", "p99 ms", "failures", "CPU ms", "MiB"),
        [
            (
                *(row["name"], row["payload"], _load(row)),
                f"{row['requests_per_second']:,.1f}",
                *(_number(row[name]) for name in ("p50_ms", "p99_ms")),
                ", ".join(f"{n} {kind}" for kind, n in row["failures_by_kind"].items()) or "0",
                _number(row["server_cpu_ms"]),
                f"{row['rss_mib']:,.0f}" if "rss_mib" in row else "-",
            )
            for row in found["rows"]
        ],
        left=3,
    )


def _show_comparisons(found: Found) -> None:
    table(
        "Within this run: medians of pairs, with 95 % bootstrap intervals",
        ("", "clients", "median", "interval", "aim", ""),
        [
            (
                *(one["name"], str(one["clients"]), _number(one["median"])),
                f"{_number(one['low'])} to {_number(one['high'])}",
                "" if one["aim"] is None else f"{one['sense']} {one['aim']:g}",
                _verdict(one),
            )
            for one in found["comparisons"]
        ],
    )


def _say_overload(overload: Found) -> None:
    goodput, refused = overload["goodput_share_of_peak"], overload["refused_answer_p99_ms"]
    recovery = overload["recovery_seconds"]
    say(
        f"overload: {overload['offered_per_second']:,.0f} requests/s offered, "
        f"{overload['goodput_per_second']:,.1f} answered, "
        f"{_interval(goodput)} of the peak (at least {goodput['aim']:g}: {goodput['verdict']}); "
        + ("not recovered" if recovery is None else f"recovered after {recovery:g} s")
    )
    if refused is not None:
        say(
            f"{overload['refused']:,} were refused, 99 of 100 within {_interval(refused)} ms "
            f"(at most {refused['aim']:g}: {refused['verdict']})"
        )


def _interval(found: Found) -> str:
    return f"{found['median']:.2f} ({found['low']:.2f} to {found['high']:.2f})"


def _verdict(one: Found) -> str:
    if one.get("verdict") == "undecided" and one["failures"]:
        return f"undecided: {one['failures']} failures"
    return str(one.get("verdict") or "")


def _load(row: Found) -> str:
    if row["arrivals"] == "closed":
        return f"{row['clients']} clients"
    return f"{row['arrivals']}, {row['offered_per_second']:,.0f}/s"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
