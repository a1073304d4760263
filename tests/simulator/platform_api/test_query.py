"""The details query and the attribute search."""

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.simulator.platform_api.query import BadQuery, moment, passes
from harness.simulator.settings import ApiClient, Knobs

PATH = "/analytics/conversations/details/query"
SEARCH = "/conversations/participants/attributes/search"
NOT_ENDED = [
    {"type": "and", "predicates": [{"dimension": "conversationEnd", "operator": "notExists"}]}
]


def today(**more) -> dict:
    now = datetime.now(UTC)
    start, end = now - timedelta(hours=1), now + timedelta(hours=1)
    return {"interval": f"{start.isoformat()}/{end.isoformat()}", **more}


async def ask(world, **more) -> list[str]:
    status, answer = await world.api("POST", PATH, json=today(**more))
    assert status == 200, answer
    assert answer["totalHits"] >= len(answer.get("conversations", []))
    return [one["conversationId"] for one in answer.get("conversations", [])]


async def guests(world, *clears: bool) -> list[str]:
    for number, cleared in enumerate(clears):
        guest = await world.guest()
        journey = {"customer": {"id": f"j-{number}", "idType": "cookie"}}
        await guest.configure(journeyContext=journey)
        attributes = {"guest": str(number), "runId": "r-1"}
        await guest.say("hello", channel={"metadata": {"customAttributes": attributes}})
        await guest.next()
        if cleared:
            await guest.clear()
    return [one.id for one in world.service.conversations.values()]


def segment(dimension: str, value: object) -> list[dict]:
    return [{"type": "and", "predicates": [{"dimension": dimension, "value": value}]}]


def test_what_is_still_open(play) -> None:
    async def scenario(world):
        first, second, third = await guests(world, False, True, False)
        assert await ask(world) == [first, second, third]
        assert await ask(world, order="desc") == [third, second, first]
        assert await ask(world, conversationFilters=NOT_ENDED) == [first, third]
        assert await ask(world, segmentFilters=segment("cleared", True)) == [second]
        assert await ask(world, segmentFilters=segment("messageType", "webmessaging")) == [
            first,
            second,
            third,
        ]
        assert await ask(world, segmentFilters=segment("queueId", "another")) == []
        assert await ask(world, segmentFilters=segment("journeyCustomerId", "j-2")) == [third]
        named = [{"type": "property", "property": "guest", "value": "1"}]
        named[0]["propertyType"] = "string"
        assert await ask(world, segmentFilters=[{"type": "and", "predicates": named}]) == [second]
        both = [segment("journeyCustomerId", "j-0")[0], segment("journeyCustomerId", "j-2")[0]]
        either = [{"type": "or", "clauses": both}]
        assert await ask(world, segmentFilters=either) == [first, third]

    play(scenario)


def test_pages(play) -> None:
    async def scenario(world):
        ids = await guests(world, *[False] * 5)
        pages = [
            await ask(world, paging={"pageSize": 2, "pageNumber": number})
            for number in (1, 2, 3, 4)
        ]
        assert pages == [ids[:2], ids[2:4], ids[4:], []]

    play(scenario)


def test_the_interval_counts_by_days(play) -> None:
    async def scenario(world):
        await guests(world, False)
        day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        for start, end, hits in (
            (day, day + timedelta(seconds=1), 1),
            (day - timedelta(days=2), day - timedelta(days=1), 0),
            (day + timedelta(days=1), day + timedelta(days=2), 0),
        ):
            body = {"interval": f"{start.isoformat()}/{end.isoformat()}"}
            _, answer = await world.api("POST", PATH, json=body)
            assert answer["totalHits"] == hits

    play(scenario)


def test_analytics_lags_behind(play) -> None:
    async def scenario(world):
        (only,) = await guests(world, True)
        assert await ask(world) == []
        world.service.knobs = Knobs(platform_lag_s=0.0)
        assert await ask(world) == [only]
        assert await ask(world, conversationFilters=NOT_ENDED) == []

    play(scenario, knobs=Knobs(platform_lag_s=3600.0))


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"interval": "yesterday"},
        {"interval": "2026-01-02T00:00Z/2026-01-01T00:00Z"},
        today(paging={"pageSize": 101}),
        today(paging={"pageNumber": 0}),
        today(paging=["a"]),
        today(order="up"),
        today(conversationFilters={"a": 1}),
        today(conversationFilters=["a"]),
        today(conversationFilters=[{"type": "not"}]),
        today(conversationFilters=segment("mood", "x")),
        today(segmentFilters=segment("conversationEnd", "x")),
        today(
            segmentFilters=[
                {"type": "and", "predicates": [{"dimension": "purpose", "operator": "like"}]}
            ]
        ),
        today(segmentFilters=[{"type": "and", "predicates": ["a"]}]),
        today(segmentFilters=[{"type": "and", "predicates": 3}]),
    ],
)
def test_queries_that_make_no_sense(play, body) -> None:
    async def scenario(world):
        status, answer = await world.api("POST", PATH, json=body)
        assert (status, answer["code"]) == (400, "bad.request")

    play(scenario)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "predicates", "clauses", "dimension", "operator", "value"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_any_filter_is_answered_or_refused(filters: object) -> None:
    with suppress(BadQuery):
        assert passes(filters, [{"attributes": {}}], frozenset({"purpose"})) in (True, False)


@given(st.text())
def test_any_time_is_read_or_refused(text: str) -> None:
    with suppress(BadQuery):
        assert moment(text).tzinfo is not None


def span(start: str, end: str, field: str = "startTime") -> dict:
    return {"type": "DATE_RANGE", "fields": [field], "startValue": start, "endValue": end}


def around(hours: float, field: str = "startTime") -> dict:
    now = datetime.now(UTC)
    half = timedelta(hours=hours / 2)
    return span((now - half).isoformat(), (now + half).isoformat(), field)


async def found_by(world, *query: dict) -> list[str]:
    status, answer = await world.api("POST", SEARCH, json={"query": list(query)})
    assert status == 200, answer
    return [one["conversationId"] for one in answer["results"]]


def test_search_by_time_with_a_cursor(play) -> None:
    async def scenario(world):
        ids = await guests(world, False, False, True)
        status, first = await world.api("POST", SEARCH, json={"query": [around(2)]})
        assert status == 200
        assert [one["conversationId"] for one in first["results"]] == ids[:2]
        data = first["results"][1]["participantData"][0]
        assert data["participantAttributes"] == {"context.guest": "1", "context.runId": "r-1"}
        again = {"query": [around(2)], "cursor": first["cursor"]}
        _, rest = await world.api("POST", SEARCH, json=again)
        assert [one["conversationId"] for one in rest["results"]] == ids[2:]
        assert rest["results"][0]["endTime"]
        assert "cursor" not in rest

    play(scenario, knobs=Knobs(attribute_prefix="context.", search_page=2))


def test_search_by_date_and_by_id(play) -> None:
    async def scenario(world):
        first, second = await guests(world, False, True)
        past = span("2020-01-01", "2020-01-02")
        assert await found_by(world, around(24)) == [first, second]
        assert await found_by(world, around(2, "endTime")) == [second]
        assert await found_by(world, around(2), past) == []
        one = {"type": "EXACT", "fields": ["conversationId"], "value": second}
        assert await found_by(world, one) == [second]
        nameless = await world.ready()
        await nameless.say("without attributes")
        await nameless.next()
        assert len(await found_by(world, around(2))) == 2

    play(scenario)


@pytest.mark.parametrize("field", ["runId", "context.runId", "participantAttributes.runId"])
def test_attributes_can_not_be_searched_for(play, field) -> None:
    async def scenario(world):
        await guests(world, False)
        query = [{"type": "EXACT", "fields": [field], "value": "r-1"}, around(2)]
        status, answer = await world.api("POST", SEARCH, json={"query": query})
        assert (status, answer["message"]) == (400, "Search not supported.")
        world.service.knobs = Knobs(search_fields="any")  # as was thought before
        assert (await world.api("POST", SEARCH, json={"query": query}))[0] == 200

    play(scenario)


def test_a_search_spans_a_day_at_most(play) -> None:
    async def scenario(world):
        status, _ = await world.api("POST", SEARCH, json={"query": [around(24.1)]})
        assert status == 400
        world.service.knobs = Knobs(search_span_s=0)
        assert (await world.api("POST", SEARCH, json={"query": [around(24.1)]}))[0] == 200

    play(scenario)


def test_the_search_may_lag_and_shows_no_other_division(play) -> None:
    async def scenario(world):
        ids = await guests(world, False, False)
        assert await found_by(world, around(2)) == []
        world.service.knobs = Knobs(foreign_every=2)
        assert await found_by(world, around(2)) == ids[:1]
        assert await ask(world) == ids[:1]

    client = ApiClient(divisions=frozenset({"home"}))
    knobs = Knobs(search_lag_s=60.0)
    play(scenario, deployment={"division_id": "home"}, clients=(client,), knobs=knobs)


def test_intervals_and_page_numbers_have_an_end(play) -> None:
    async def scenario(world):
        (only,) = await guests(world, False)
        now = datetime.now(UTC)
        for days, more, status in (
            (6.9, {}, 200),
            (7.1, {}, 400),
            (30.9, {"segmentFilters": segment("mediaType", "message")}, 200),
            (31.1, {"segmentFilters": segment("mediaType", "message")}, 400),
        ):
            start = now - timedelta(days=days)
            body = {"interval": f"{start.isoformat()}/{now.isoformat()}", **more}
            assert (await world.api("POST", PATH, json=body))[0] == status, days
        world.service.knobs = Knobs(most_results=2)
        assert await ask(world, paging={"pageSize": 2, "pageNumber": 1}) == [only]
        body = today(paging={"pageSize": 2, "pageNumber": 2})
        status, answer = await world.api("POST", PATH, json=body)
        assert (status, answer["message"]) == (400, "Pagination may not exceed 2 results")

    play(scenario)


@pytest.mark.parametrize(
    "body",
    [
        b"x",
        b"[]",
        {},
        {"query": []},
        {"query": ["a"]},
        {"query": [{"type": "LIKE"}]},
        {"query": [{"type": "EXACT"}]},
        {"query": [{"type": "EXACT", "fields": "startTime"}]},
        {"query": [span("yesterday", "today")]},
    ],
)
def test_searches_that_make_no_sense(play, body) -> None:
    async def scenario(world):
        await guests(world, False)
        data = body if isinstance(body, bytes) else json.dumps(body)
        assert (await world.api("POST", SEARCH, data=data))[0] == 400

    play(scenario)
