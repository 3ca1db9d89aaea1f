"""The web application through real sockets: who gets in, who drives, what is sent to whom."""

from __future__ import annotations

import json
import time

import pytest
import websockets
from websockets.exceptions import InvalidStatus

from silri.core.clock import FakeClock
from tests.console.served import HELLO, POINTS, TOKEN, Served

PATHS = (
    *("/", "/static/index.html", "/api/run", "/api/episodes", "/api/episodes/0", "/api/map"),
    "/api/episodes/0/frames/0.jpg",
)


@pytest.fixture(scope="module")
def shared():
    served = Served()
    yield served
    served.close()


@pytest.fixture
def served():
    clock = FakeClock(100.0)
    served = Served(now=clock.now)
    served.clock = clock
    yield served
    served.close()


# -- who gets in --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN[:-1], TOKEN + "x", "%00", "%ff%fe"])
def test_without_the_token_there_is_nothing(shared, path, token):
    answer = shared.get(path, token=token)
    unknown = shared.get("/no/such/address", token=token)
    assert answer[0] == unknown[0] == 404
    assert answer[2] == unknown[2] == b"Not Found"
    hidden = {"date"}
    assert {k: v for k, v in answer[1].items() if k not in hidden} == {
        k: v for k, v in unknown[1].items() if k not in hidden
    }


@pytest.mark.parametrize("token", [None, "wrong"])
def test_nor_a_websocket(shared, token):
    with pytest.raises(InvalidStatus) as error:
        shared.page(token=token)
    assert error.value.response.status_code == 404
    assert error.value.response.body == b"Not Found"


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1:1", "x"])
def test_other_sites_pages_are_not_ours(shared, origin):
    with pytest.raises(InvalidStatus) as error:
        shared.page(origin=origin)
    assert error.value.response.status_code == 404
    assert shared.get("/api/run", Origin=origin)[0] == 404


def test_nor_is_another_name_for_this_machine(shared):
    assert shared.get("/", Host=f"rebound.example:{shared.port}")[0] == 404
    assert shared.get("/", Host=f"localhost:{shared.port}")[0] == 200
    assert shared.get("/", Host="localhost:9")[0] == 200  # a forwarded port


def test_our_own_page_gets_in(shared):
    with shared.page(origin=f"http://127.0.0.1:{shared.port}") as page:
        assert page.hear("hello")["run"] == "run"


def test_the_page_opens_with_the_token_and_goes_on_with_a_cookie(shared):
    status, headers, body = shared.get("/")
    assert status == 200
    assert b"<!doctype html>" in body
    cookie = headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"
    pair = cookie.partition(";")[0]
    status, headers, _ = shared.get("/static/scripts/main.js", token=None, Cookie=pair)
    assert status == 200
    assert "javascript" in headers["content-type"]
    with shared.page(token=None, additional_headers={"Cookie": pair}) as page:
        page.hear("hello")
    wrong = f"{pair.partition('=')[0]}=wrong"
    assert shared.get("/", token=None, Cookie=wrong)[0] == 404


@pytest.mark.parametrize("path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static/", "/x"])
def test_only_parts_of_the_page_are_served(shared, path):
    assert shared.get(path)[0] == 404


def test_a_console_that_gets_ready_says_so():
    served = Served(hello=None)
    try:
        status, _, body = served.get("/api/run")
        assert (status, json.loads(body)) == (404, {"error": "the console gets ready"})
        with served.page() as page:
            episode = {"type": "episode", "episode": 3, "kind": "training"}
            served.do(served.desk.say, episode)
            with pytest.raises(TimeoutError):
                page.socket.recv(0.1)
            served.do(served.desk.open, HELLO, list)
            told = [json.loads(page.socket.recv(5.0)) for _ in range(4)]
            assert [each["type"] for each in told] == ["hello", "control", "episode", "curves"]
            assert told[0]["you"] == "page-1"
    finally:
        served.close()


# -- what a page is told ------------------------------------------------------------------------


def test_a_page_that_comes_late_is_told_everything(served):
    episode = {"type": "episode", "episode": 3, "kind": "training"}
    served.do(served.desk.say, {"type": "episode", "episode": 2, "kind": "training"})
    served.do(served.desk.say, {"type": "step", "episode": 2, "step": 0})
    served.do(served.desk.say, episode)
    for number in range(3):
        served.do(served.desk.say, {"type": "step", "episode": 3, "step": number})
    served.do(served.desk.say, {"type": "picture", "picture": "exact", "text": ""})
    served.do(served.desk.phase, "autonomous", "")
    with served.page() as page:
        told = [json.loads(page.socket.recv(5.0)) for _ in range(8)]
    assert told[0] == {**HELLO, "you": "page-1"}
    assert told[1] == {
        "type": "control",
        "holder": None,
        "you": False,
        "phase": "autonomous",
        "reason": "",
    }
    assert told[2]["picture"] == "exact"
    assert told[3] == episode
    assert [each["step"] for each in told[4:7]] == [0, 1, 2]
    assert told[7] == {"type": "curves", "points": POINTS}


def test_pictures_come_only_when_the_last_one_is_drawn(served):
    with served.page() as page:
        page.hear("curves")
        assert sorted(served.wanted) == [0, 1]
        served.do(served.desk.picture, 0, 1, 11, b"first")
        assert page.hear("picture-bytes") == bytes([0, 0, 0, 0, 11]) + b"first"
        for number in range(2, 30):
            served.do(served.desk.picture, 0, number, 10 + number, b"later")
        served.do(served.desk.picture, 1, 30, 40, b"wrist")
        assert page.hear("picture-bytes") == bytes([1, 0, 0, 0, 40]) + b"wrist"
        assert page.silent("picture-bytes")
        page.say("drawn", camera=0)
        assert page.hear("picture-bytes") == bytes([0, 0, 0, 0, 39]) + b"later"  # the newest
        page.say("drawn", camera=0)
        assert page.silent("picture-bytes")  # it has that one
        assert served.wanted[2:] == [0, 0]
        with served.page() as other:  # one that comes later sees what there is
            assert other.hear("picture-bytes")[5:] == b"later"


# -- who drives ---------------------------------------------------------------------------------


def test_inputs_reach_the_run_and_are_answered(served):
    with served.page() as page:
        page.hear("curves")
        assert page.input((0.5, 0, 0, 1)) == 1
        assert page.hear("control")["you"] is True
        pong = {"type": "pong", "sequence": 1, "time": 5.0, "applied": -1}
        assert page.hear("pong") == pong
        sent = {"kind": "input", "page": "page-1", "sequence": 1, "hold": True}
        assert served.to_run == [{**sent, "axes": [0.5, 0, 0, 1]}]
        served.do(served.desk.applied, "page-1", 1)
        assert page.hear("pong") == {**pong, "applied": 1}
        page.input((0, 0, 0, 0), hold=False)
        assert page.hear("pong") == {**pong, "sequence": 2, "applied": 1}
        assert served.to_run[-1]["hold"] is False
        page.say("ping", sequence=9, time=1.0)
        assert page.hear("pong") == {"type": "pong", "sequence": 9, "time": 1.0, "applied": 1}


def test_a_second_driver_is_refused_with_the_firsts_name(served):
    with served.page() as first, served.page() as second:
        first.input()
        first.hear("pong")
        assert second.hear("control")["holder"] is None
        assert second.hear("control")["holder"] == "page-1"
        second.input()
        text = "page-1 holds control, so this page cannot drive"
        assert second.hear("refused")["text"] == text
        served.clock.advance(1.0)
        second.say("command", command="success", episode=3)
        text = "page-1 holds control, so this page cannot give commands"
        assert second.hear("refused")["text"] == text
        assert [each["page"] for each in served.to_run] == ["page-1"]
        assert served.desk.refusals.counts == {"not yours": 2}


def test_control_is_taken_only_from_who_is_idle(served):
    with served.page() as first, served.page() as second:
        first.input()
        first.hear("pong")
        served.clock.advance(9.9)
        second.say("take_control")
        assert second.hear("refused")["text"] == "page-1 holds control and is at work"
        served.clock.advance(0.2)
        second.say("take_control")
        while (control := second.hear("control"))["holder"] != "page-2":
            pass
        assert control["you"] is True
        assert served.to_run[-1] == {"kind": "lost", "page": "page-1"}
        first.input()
        assert "page-2 holds control" in first.hear("refused")["text"]


def test_control_can_be_given_away(served):
    with served.page() as first, served.page() as second:
        first.input()
        first.hear("pong")
        first.say("give_control")
        while second.hear("control")["holder"] != "page-1":
            pass
        assert second.hear("control")["holder"] is None
        assert served.to_run[-1] == {"kind": "release", "page": "page-1"}
        second.input()
        second.hear("pong")
        assert served.to_run[-1]["page"] == "page-2"


def test_a_page_that_is_lost_lets_go_at_once(served):
    with served.page(), served.page() as first:
        first.input()
        first.hear("pong")
        first.socket.socket.close()  # the cable is cut
        ends = time.monotonic() + 10
        while {"kind": "lost", "page": "page-2"} not in served.to_run:
            assert time.monotonic() < ends
            time.sleep(0.01)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("{", "malformed"),
        (b"\x00" * 9, "malformed"),
        ("x" * 5_000, "oversized"),
        (json.dumps({"type": "input", "sequence": 1}), "malformed"),
    ],
)
def test_what_is_refused_is_counted_and_does_nothing(served, text, kind):
    with served.page() as page:
        page.hear("curves")
        page.socket.send(text)
        page.hear("refused")
        assert served.desk.refusals.counts == {kind: 1}
        assert served.to_run == []
        page.input()  # and the page goes on
        page.hear("pong")


def test_replayed_and_overtaken_inputs_are_refused(served):
    with served.page() as page:
        page.input()
        page.input()
        page.sequence = 0
        page.input((-1, 0, 0, 0))
        assert page.hear("refused")["text"] == "input 1 comes after 2"
        assert [each["axes"][0] for each in served.to_run] == [1, 1]
        assert served.desk.refusals.counts == {"replayed": 1}


def test_a_flood_of_nonsense_is_counted_and_not_answered(served):
    with served.page() as page:
        for _ in range(300):
            page.socket.send("{")
        page.say("ping", sequence=1, time=1.0)
        page.hear("refused")
        page.hear("pong")
        assert page.silent("refused")
        assert served.desk.refusals.counts == {"malformed": 300}


def test_a_huge_message_ends_the_connection_before_it_is_read(served):
    with served.page() as page:
        page.hear("curves")
        page.socket.send("x" * 100_000)
        with pytest.raises(websockets.ConnectionClosed) as closed:
            page.hear("refused")
        assert closed.value.rcvd.code == 1009
    with served.page() as page:
        page.hear("hello")


def test_a_stored_run_has_nothing_to_drive():
    served = Served(hello={**HELLO, "mode": "replay"})
    try:
        with served.page() as page:
            page.input()
            assert page.hear("refused")["text"] == "this run is over: there is nothing to drive"
            assert served.to_run == []
    finally:
        served.close()


def test_a_page_that_does_not_read_is_let_go_and_nobody_waits_for_it(served):
    step = {"type": "step", "step": 0, "junk": "x" * 20_000}

    def say():
        for _ in range(50):
            served.desk.say(step)

    with served.page(max_queue=1) as slow, served.page() as quick:
        quick.hear("curves")
        for _ in range(100):  # 100 MB at most
            served.do(say)
            for _ in range(50):
                quick.hear("step")
            if len(served.desk._pages) == 1:
                break
        else:
            raise AssertionError("it is still there")
        quick.say("ping", sequence=1, time=1.0)
        quick.hear("pong")
        slow.socket.socket.close()
