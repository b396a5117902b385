"""Which of two kinds of answer a client would rather have."""

from __future__ import annotations


def prefers_json(accept: str) -> bool:
    """Whether an Accept header asks for JSON rather than for HTML.

    The higher quality wins; of equal ones the kind that is named more exactly. HTML is for
    whoever has no preference.

    Args:
        accept: the header's value; empty if there is none.

    Example:
        >>> prefers_json("application/json")
        True
        >>> prefers_json("text/html, application/json;q=0.9"), prefers_json("*/*")
        (False, False)
    """
    ranges = [_parsed(one) for one in accept.split(",") if one.strip()]
    return _rank(ranges, "application/json") > _rank(ranges, "text/html")


def _rank(ranges: list[tuple[str, float]], media_type: str) -> tuple[float, int]:
    """The quality of a media type, and how exactly the range names it that says so."""
    family = media_type.partition("/")[0] + "/*"
    for exactness, name in ((2, media_type), (1, family), (0, "*/*")):
        found = [quality for one, quality in ranges if one == name]
        if found and max(found) > 0:
            return max(found), exactness
        if found:
            break
    return 0.0, 0


def _parsed(one: str) -> tuple[str, float]:
    name, *parameters = (part.strip().lower() for part in one.split(";"))
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                return name, min(max(float(value), 0.0), 1.0)
            except ValueError:
                return name, 0.0
    return name, 1.0
