"""Which pairs are registered and by which way a section comes to the reference, on made-up outcomes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from custom_components.series.routes import (
    MODES,
    Outcome,
    best_routes,
    link_costs,
    other_routes,
    register_all,
    register_neighbours,
)


class Block:
    """Sections of which some are bad; notes what is asked of it."""

    def __init__(self, bad=(), poor=(), cut=()):
        self.bad, self.poor, self.cut, self.asked = set(bad), set(poor), set(cut), []

    def __call__(self, fixed, moving):
        self.asked.append((fixed, moving))
        if {fixed, moving} & self.bad or (fixed, moving) in self.cut:
            return Outcome(fixed, moving, "failed", "no tissue")
        status = "poor" if {fixed, moving} & self.poor else "ok"
        return Outcome(fixed, moving, status, "" if status == "ok" else "folds", 1000 // abs(fixed - moving))


def paths(routes):
    return {number: route.path for number, route in sorted(routes.items())}


def test_neighbours_are_registered_outwards_from_the_reference():
    block = Block()
    register_all("neighbours", 5, 2, block)
    assert block.asked == [(2, 3), (3, 4), (2, 1), (1, 0)]


def test_a_bad_section_is_bridged_and_tried_from_its_other_side():
    block = Block(bad=[3])
    outcomes = register_all("neighbours", 6, 1, block)
    assert block.asked == [(1, 2), (2, 3), (1, 3), (2, 4), (4, 3), (4, 5), (1, 0)]
    assert paths(best_routes(1, outcomes)) == {0: (1, 0), 1: (1,), 2: (1, 2), 4: (1, 2, 4), 5: (1, 2, 4, 5)}


def test_two_bad_ones_in_a_row_and_at_the_end_leave_the_others_whole():
    outcomes = register_all("neighbours", 7, 0, Block(bad=[2, 3, 6]))
    assert paths(best_routes(0, outcomes)) == {0: (0,), 1: (0, 1), 4: (0, 1, 4), 5: (0, 1, 4, 5)}


def test_a_section_that_fits_only_one_of_its_neighbours_is_reached_from_that_one():
    outcomes = register_all("neighbours", 4, 0, Block(cut=[(1, 2), (0, 2)]))
    assert paths(best_routes(0, outcomes))[2] == (0, 1, 3, 2)


def test_a_step_that_leads_nowhere_is_stepped_over():
    """Section 1 fits the reference but nothing beyond fits it: the others go on from the reference."""
    outcomes = register_all("neighbours", 4, 0, Block(cut=[(1, 2), (1, 3)]))
    assert paths(best_routes(0, outcomes)) == {0: (0,), 1: (0, 1), 2: (0, 2), 3: (0, 2, 3)}
    once = register_all("neighbours", 4, 0, Block(cut=[(1, 2), (1, 3)]), reach=1)
    assert set(best_routes(0, once)) == {0, 1}


def test_a_poor_section_has_a_result_but_nothing_goes_on_from_it():
    outcomes = register_all("neighbours", 5, 0, Block(poor=[2]))
    routes = best_routes(0, outcomes)
    assert paths(routes) == {0: (0,), 1: (0, 1), 2: (0, 1, 2), 3: (0, 1, 3), 4: (0, 1, 3, 4)}
    assert [routes[number].warnings for number in range(4)] == [(), (), ("folds",), ()]


def test_no_pair_is_registered_twice_in_any_mode():
    wanted = {"neighbours": 4, "all_to_one": 4, "both": 6, "all_pairs": 10}
    for mode in MODES:
        block = Block()
        register_all(mode, 5, 2, block)
        assert len(block.asked) == len(set(block.asked)) == wanted[mode]
        assert all(fixed != moving and moving != 2 for fixed, moving in block.asked)
    assert len({frozenset(pair) for pair in block.asked}) == 10


def test_the_reference_may_be_bad_alone_and_then_no_one_else_is_reached():
    for mode in MODES:
        assert set(best_routes(1, register_all(mode, 3, 1, Block(bad=[1])), mode == "all_pairs")) == {1}


def brute_force(reference, target, costs):
    """The cheapest of all simple ways."""
    nodes = {n for ends in costs for n in ends} - {reference, target}
    ways = [(reference, *middle, target) for k in range(len(nodes) + 1) for middle in itertools.permutations(nodes, k)]
    priced = [
        (sum(costs[step] for step in itertools.pairwise(way)), way)
        for way in ways
        if all(step in costs for step in itertools.pairwise(way))
    ]
    return min(priced) if priced else None


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("both_ways", [False, True])
def test_routes_are_the_cheapest_of_all_ways(seed, both_ways):
    rng = np.random.default_rng(seed)
    outcomes = [
        Outcome(i, j, "ok", matches=int(rng.integers(50, 3000)))
        for i, j in itertools.permutations(range(5), 2)
        if (i < j if both_ways else rng.random() < 0.7)
    ]
    costs = {(o.fixed, o.moving): 1 / o.matches**2 for o in outcomes}
    if both_ways:
        costs |= {(j, i): cost for (i, j), cost in costs.items()}
    routes = best_routes(0, outcomes, both_ways)
    for target in range(1, 5):
        best = brute_force(0, target, costs)
        assert (target in routes) == (best is not None)
        if best is not None:
            assert routes[target].path == best[1]
            assert routes[target].cost == pytest.approx(best[0])


def test_costs_are_by_matches_else_by_similarity_else_by_the_number_of_links():
    by_matches = [Outcome(0, 1, "ok", "", 100, 0.5), Outcome(1, 2, "ok", "", 200, 0.1)]
    assert link_costs(by_matches) == {(0, 1): 1e-4, (1, 2): 2.5e-5}
    assert link_costs([*by_matches, Outcome(0, 2, "failed", "x")]) == link_costs(by_matches)
    by_similarity = [Outcome(0, 1, "ok", "", 0, 0.5), Outcome(1, 2, "ok", "", 200, 0.1)]
    assert link_costs(by_similarity) == {(0, 1): 4.0, (1, 2): pytest.approx(100.0)}
    assert link_costs([Outcome(0, 1, "ok"), Outcome(0, 2, "ok", "", 7)]) == {(0, 1): 1.0, (0, 2): 1.0}


def test_a_good_chain_is_preferred_to_a_bad_direct_link_and_the_other_way_round():
    links = [Outcome(0, 1, "ok", matches=2000), Outcome(1, 2, "ok", matches=2000)]
    assert best_routes(0, [*links, Outcome(0, 2, "ok", matches=1000)])[2].path == (0, 1, 2)
    assert best_routes(0, [*links, Outcome(0, 2, "ok", matches=1900)])[2].path == (0, 2)


def test_ways_not_taken_are_found_without_going_round_in_circles():
    outcomes = [Outcome(0, 1, "ok", matches=900), Outcome(0, 2, "ok", matches=900), Outcome(1, 2, "ok", matches=800)]
    routes = best_routes(0, outcomes)
    assert [route.path for route in other_routes(2, routes, outcomes)] == [(0, 1, 2)]
    assert other_routes(1, routes, outcomes) == []
    assert [route.path for route in other_routes(1, routes, outcomes, both_ways=True)] == [(0, 2, 1)]


def test_registration_of_neighbours_can_be_watched_one_by_one():
    assert next(register_neighbours(3, 0, Block())) == Outcome(0, 1, "ok", "", 1000)
