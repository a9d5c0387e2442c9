"""Which sections are registered onto which, and the way from each to the reference.

Sections are numbered in the order of the series. A link ``(fixed, moving)`` is one registration; a route is a chain of
links from the reference to a section.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

MODES = ("neighbours", "all_to_one", "both", "all_pairs")


@dataclass(frozen=True)
class Outcome:
    """How the registration of a section onto another went.

    Attributes:
        fixed: number of the section that stays.
        moving: number of the section that is warped.
        status: "ok", "poor" or "failed".
        reason: why it is not "ok".
        matches: that carry the field; 0 for a method without matches.
        similarity: local similarity after registration, or None where the method does not measure it.
    """

    fixed: int
    moving: int
    status: str
    reason: str = ""
    matches: int = 0
    similarity: float | None = None


@dataclass(frozen=True)
class Route:
    """The way from the reference to a section.

    Attributes:
        path: section numbers, the reference first, the section last.
        cost: sum over its links, see ``link_costs``.
        warnings: what speaks against its links.
    """

    path: tuple[int, ...]
    cost: float = 0.0
    warnings: tuple[str, ...] = ()


Register = Callable[[int, int], Outcome]


def register_neighbours(count: int, reference: int, register: Register, reach: int = 2) -> Iterator[Outcome]:
    """Register each section onto its neighbour on the reference's side, across those that fail.

    From the reference outwards a section is registered onto the last good one, then, if that does not give a good
    result, onto further ones behind it. A section that is good onto none is no step for those beyond it; once one of
    them is good, it is tried a last time onto that.

    Args:
        count: of sections.
        reference: its number.
        register: (fixed, moving) -> how it went.
        reach: good sections that are tried.
    """
    for side in (range(reference + 1, count), range(reference - 1, -1, -1)):
        steps, waiting = [reference], list[int]()
        for section in side:
            for step in reversed(steps[-reach:]):
                outcome = register(step, section)
                yield outcome
                if outcome.status == "ok":
                    break
            else:
                waiting.append(section)
                continue
            steps.append(section)
            yield from (register(section, left) for left in waiting)
            waiting.clear()


def register_all(mode: str, count: int, reference: int, register: Register, reach: int = 2) -> list[Outcome]:
    """All registrations that a mode wants, each once.

    Args:
        mode: "neighbours"; "all_to_one", each section onto the reference; "both" of these; "all_pairs", each section
            onto every one that lies before it in the list, the reference before all others.
        count: of sections.
        reference: its number.
        register: (fixed, moving) -> how it went.
        reach: see ``register_neighbours``.
    """
    others = [number for number in range(count) if number != reference]
    found: dict[tuple[int, int], Outcome] = {}

    def once(fixed: int, moving: int) -> Outcome:
        if (fixed, moving) not in found:
            found[fixed, moving] = register(fixed, moving)
        return found[fixed, moving]

    if mode in ("neighbours", "both"):
        list(register_neighbours(count, reference, once, reach))
    if mode in ("all_to_one", "both"):
        for section in others:
            once(reference, section)
    if mode == "all_pairs":
        order = [reference, *others]
        for place, section in enumerate(order):
            for before in order[:place]:
                once(before, section)
    return list(found.values())


def link_costs(outcomes: Sequence[Outcome]) -> dict[tuple[int, int], float]:
    """The expected squared error of each link that has a result, up to one factor common to all.

    The error of a registration falls about as the number of its matches grows, and errors of links add up as squares.
    So a link costs 1 / matches^2; where a method has no matches 1 / similarity^2; where it has neither all cost the
    same, and the route with the fewest links is the best one.
    """
    there = [outcome for outcome in outcomes if outcome.status != "failed"]
    if all(o.matches > 0 for o in there):
        return {(o.fixed, o.moving): 1 / o.matches**2 for o in there}
    if all(o.similarity is not None and o.similarity > 0 for o in there):
        return {(o.fixed, o.moving): 1 / (o.similarity or 1) ** 2 for o in there}
    return {(o.fixed, o.moving): 1.0 for o in there}


def best_routes(reference: int, outcomes: Sequence[Outcome], both_ways: bool = False) -> dict[int, Route]:
    """The cheapest route to each section that can be reached.

    Routes go over good links. A section that none of them reaches takes its cheapest poor link to one that they reach;
    nothing goes on from there.

    Args:
        reference: its number.
        outcomes: of all registrations.
        both_ways: a link may also be gone backwards, through its inverse field.
    """
    costs = link_costs(outcomes)
    links: dict[int, list[tuple[int, float, Outcome]]] = {}
    for outcome in outcomes:
        if outcome.status == "failed":
            continue
        cost = costs[outcome.fixed, outcome.moving]
        links.setdefault(outcome.fixed, []).append((outcome.moving, cost, outcome))
        if both_ways:
            links.setdefault(outcome.moving, []).append((outcome.fixed, cost, outcome))
    routes: dict[int, Route] = {}
    open_ends: list[tuple[float, tuple[int, ...]]] = [(0.0, (reference,))]
    while open_ends:
        cost, path = heapq.heappop(open_ends)
        if path[-1] in routes:
            continue
        routes[path[-1]] = Route(path, cost)
        for section, more, outcome in links.get(path[-1], ()):
            if outcome.status == "ok" and section not in routes:
                heapq.heappush(open_ends, (cost + more, (*path, section)))
    poor: dict[int, Route] = {}
    for start, route in routes.items():
        for section, more, outcome in links.get(start, ()):
            cost = route.cost + more
            if section not in routes and (section not in poor or cost < poor[section].cost):
                poor[section] = Route((*route.path, section), cost, (outcome.reason,))
    return routes | poor


def other_routes(
    section: int, routes: dict[int, Route], outcomes: Sequence[Outcome], both_ways: bool = False
) -> list[Route]:
    """The ways to a section that were not taken: the best route to another section, then a good link from there.

    Args:
        section: its number.
        routes: of ``best_routes``.
        outcomes: of all registrations.
        both_ways: see ``best_routes``.
    """
    costs, found = link_costs(outcomes), []
    for outcome in outcomes:
        steps = {outcome.moving: outcome.fixed} | ({outcome.fixed: outcome.moving} if both_ways else {})
        if outcome.status != "ok" or section not in steps or steps[section] not in routes:
            continue
        start = routes[steps[section]]
        path = (*start.path, section)
        if section not in start.path and path != routes[section].path and not start.warnings:
            found.append(Route(path, start.cost + costs[outcome.fixed, outcome.moving]))
    return sorted(found, key=lambda route: route.cost)
