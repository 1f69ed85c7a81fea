"""The server: who may look, who may act, what it answers, and what it cannot bind."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path

import plotly
import pytest
from report.synthetic import record, search_records
from starlette.testclient import TestClient
from watched import add, begun

from raysubset.cli.app import run as command
from raysubset.dashboard import serve as serving
from raysubset.dashboard.app import make_app
from raysubset.dashboard.board import Board
from raysubset.errors import OptionsError
from raysubset.report.requests import STOP_RUN, StopRequest, asked

HERE = "http://127.0.0.1:8270"
TOKEN = "a-token.of_some~length"
NASTY = "</script><img src=x onerror=alert(1)>&amp;\"'"


def visitor(folder: Path, token: str = "", base: str = HERE, **headers: str) -> TestClient:
    return TestClient(make_app(Board([folder]), token=token), base, headers=headers, follow_redirects=False)


@pytest.fixture
def folder(tmp_path) -> Path:
    folder = begun(tmp_path / "r")
    add(folder, search_records(trials=6))
    add(folder, [record("fresh", 1)])
    return folder


# ---------------------------------------------------------------------- who may look


@pytest.mark.parametrize("host", ["127.0.0.1:8270", "localhost", "[::1]:8270", "LOCALHOST:1"])
def test_its_own_names_are_answered(folder, host) -> None:
    assert visitor(folder).get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:8270", "localhost.evil.example", "", "[::1", "a@b"]
)
@pytest.mark.parametrize("path", ["/", "/api/changes?run=0", "/static/dashboard.js"])
def test_another_name_that_leads_here_is_turned_away(folder, host, path) -> None:
    answer = visitor(folder).get(path, headers={"host": host})
    assert answer.status_code == 421
    assert "trial" not in answer.text


def test_every_answer_forbids_to_load_or_send_anything_elsewhere(folder) -> None:
    client = visitor(folder)
    for path in (
        "/",
        "/api/changes?run=0",
        "/static/plotly.js",
        "/nothing",
        "/static/app.py",
        "/static/..%2fapp.py",
    ):
        answer = client.get(path)
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self';")
        assert not re.search(r"https?:|\*|unsafe-eval", policy)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.status_code == (200 if "nothing" not in path and "app.py" not in path else 404)
    page = client.get("/").text
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", page), "the page loads from this server alone"
    assert "<script>" not in page


@pytest.mark.parametrize("path", ["/", "/api/changes?run=0", "/static/dashboard.js"])
def test_with_a_token_nothing_is_told_without_it(folder, path) -> None:
    client = visitor(folder, TOKEN, "http://anywhere.example")
    assert client.get(path).status_code == 401
    assert client.get(path, headers={"authorization": f"Bearer {TOKEN[:-1]}"}).status_code == 401
    assert client.get(path, headers={"authorization": f"Bearer {TOKEN}é".encode()}).status_code == 401
    assert client.get(path, headers={"cookie": "raysubset-80=wrong"}).status_code == 401
    assert client.get(path, headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_the_token_leaves_the_address_for_a_cookie(folder) -> None:
    client = visitor(folder, TOKEN, "http://anywhere.example")
    first = client.get(f"/?run=0&token={TOKEN}")
    assert (first.status_code, first.headers["location"]) == (303, "/?run=0")
    said = first.headers["set-cookie"].lower()
    assert "httponly" in said
    assert "samesite=strict" in said
    assert client.get("/?run=0").status_code == 200
    assert TOKEN not in client.get("/?run=0").text
    elsewhere = visitor(folder, TOKEN).get(f"//evil.example/?token={TOKEN}")
    assert not elsewhere.headers["location"].startswith("//")


# ---------------------------------------------------------------------- who may act


def test_only_our_own_page_can_stop(folder) -> None:
    client, what = visitor(folder), {"run": "0", "stage": "search", "trial": "fresh"}
    for origin in (
        None,
        "null",
        "http://evil.example",
        "http://127.0.0.1:9999",
        "http://127.0.0.1:8270.evil.example",
    ):
        answer = client.post("/api/stop", json=what, headers={} if origin is None else {"origin": origin})
        assert answer.status_code == 403
    assert client.get("/api/stop").status_code == 405
    assert asked(folder) == frozenset()
    assert client.post("/api/stop", json=what, headers={"origin": HERE}).status_code == 202
    assert asked(folder) == {StopRequest("search", "fresh")}
    assert client.post("/api/stop", json={"run": "0"}, headers={"origin": HERE}).status_code == 202
    assert STOP_RUN in asked(folder)


def test_without_the_token_nobody_can_stop(folder) -> None:
    client = visitor(folder, TOKEN)
    assert client.post("/api/stop", json={"run": "0"}, headers={"origin": HERE}).status_code == 401
    assert asked(folder) == frozenset()


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{half", 400, "JSON object"),
        (b"[]", 400, "JSON object"),
        (b"\xff\xfe", 400, "JSON object"),
        (b'{"run": "' + b"9" * 5000 + b'"}', 413, "too long"),
        (b'{"run": "9"}', 404, "Unknown run '9'"),
        (b'{"run": "0", "stage": "search", "trial": "../x"}', 404, "Unknown trial"),
        (b'{"run": "0", "stage": "search", "trial": "trial_0000"}', 409, "has ended already"),
    ],
)
def test_a_request_that_is_none_is_refused(folder, body, status, words) -> None:
    answer = visitor(folder).post("/api/stop", content=body, headers={"origin": HERE})
    assert answer.status_code == status
    assert words in answer.json()["error"]
    assert asked(folder) == frozenset()


# ---------------------------------------------------------------------- what it answers


def test_names_with_markup_stay_text(tmp_path) -> None:
    folder = begun(tmp_path / "r", name=NASTY, model=NASTY, dataset_note=NASTY)
    add(folder, [record(NASTY, 1, config={NASTY: NASTY}, status="failed", reason=NASTY)])
    client = visitor(folder)
    page = client.get("/").text
    assert "<img" not in page
    assert page.count("</script>") == 2, "the state's own and the page's"
    state = re.search(r'<script id="state" type="application/json">(.*?)</script>', page, re.S)
    assert json.loads(state[1])["runs"][0]["name"] == NASTY
    answer = client.get("/api/changes?run=0")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["detail"]["failures"][0]["reason"] == NASTY


def test_plotly_is_served_from_what_is_installed(folder) -> None:
    answer = visitor(folder).get(f"/static/plotly.js?v={plotly.__version__}")
    assert answer.text.startswith("/**\n* plotly.js v")
    assert "max-age" in answer.headers["cache-control"]
    assert visitor(folder).get("/api/changes?run=0").headers["cache-control"] == "no-store"


def test_unknown_runs_and_versions_are_said(folder) -> None:
    client = visitor(folder)
    assert client.get("/?run=<b>").status_code == 404
    assert client.get("/?run=<b>").headers["content-type"].startswith("text/plain")
    assert client.get("/api/changes?run=5").status_code == 404
    assert client.get("/api/changes?run=0&since=x").status_code == 400
    assert client.get("/api/changes?run=0&since=-1").json()["whole"]


# ---------------------------------------------------------------------- what it binds


def test_a_port_that_is_taken_is_said(tmp_path, capsys) -> None:
    begun(tmp_path / "r")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert command(["dashboard", "r", "--root", str(tmp_path), "--port", str(port)]) == 2
    said = capsys.readouterr().err
    assert f"127.0.0.1, port {port}: Address already in use" in said
    assert "--port 0" in said


@pytest.mark.parametrize("token", ["short", "with a space in it", "ümlaut-ümlaut-ümlaut", "x" * 201, ""])
def test_a_token_that_cannot_stand_in_an_address_is_refused(tmp_path, token) -> None:
    with pytest.raises(OptionsError, match="--token needs 12 to 200"):
        serving.serve([begun(tmp_path / "r")], token=token, port=0, started=print)


@pytest.mark.parametrize(
    ("host", "token", "wanted"),
    [
        ("127.0.0.1", None, r"http://127\.0\.0\.1:\d+/"),
        ("localhost", TOKEN, rf"http://localhost:\d+/\?token={re.escape(TOKEN)}"),
        ("0.0.0.0", None, r"http://[^/]+:\d+/\?token=[\w-]{32}"),
        ("0.0.0.0", TOKEN, rf"http://[^/]+:\d+/\?token={re.escape(TOKEN)}"),
    ],
)
def test_other_than_loopback_there_is_always_a_token(tmp_path, monkeypatch, host, token, wanted) -> None:
    ran, said = [], []
    monkeypatch.setattr(serving.uvicorn.Server, "run", lambda self, sockets: ran.append(self.config.app))
    serving.serve([begun(tmp_path / "r")], host=host, token=token, port=0, started=said.append)
    assert re.fullmatch(wanted, said[0])
    client = TestClient(ran[0], "http://localhost", follow_redirects=False)
    assert client.get("/").status_code == (401 if "token" in said[0] else 200)
    assert len(said) == 1


def test_who_is_loopback() -> None:
    loopback = ["127.0.0.1", "127.9.9.9", "::1", "localhost"]
    others = ["0.0.0.0", "::", "10.0.0.1", "example.org", "localhost.example.org", ""]
    assert [serving.is_loopback(host) for host in loopback + others] == [True] * 4 + [False] * 6


# ---------------------------------------------------------------------- in the terminal


def test_watch_prints_the_same_digest(folder, capsys) -> None:
    assert command(["watch", str(folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["counts"]["total"] == 7
    assert told["detail"]["trials"][0]["trial"] == "trial_0000"
    assert command(["watch", "r", "--root", str(folder.parent), "--once"]) == 0
    said = capsys.readouterr().out
    assert "running" in said
    assert "Leading trials" in said


def test_watch_of_nothing_yet_and_of_markup(tmp_path, capsys) -> None:
    begun(tmp_path / "r", name="[red]name[/red]")
    assert command(["watch", str(tmp_path / "r"), "--once"]) == 0
    said = capsys.readouterr().out
    assert "[red]name[/red]" in said
    assert "no trial has been judged yet" in said
    add(tmp_path / "r", [record("a", 1, status="failed", reason="[bold]no[/bold]", val_loss=None)])
    assert command(["watch", str(tmp_path / "r"), "--once"]) == 0
    assert "[bold]no[/bold]" in capsys.readouterr().out


def test_a_run_that_does_not_exist_lists_the_known_ones(tmp_path, capsys) -> None:
    for name in ("one", "two"):
        begun(tmp_path / name)
    for words in (["watch", "tow"], ["dashboard", "one", "tow"]):
        assert command([*words, "--root", str(tmp_path)]) == 2
        assert "Did you mean 'two'? Known: one, two." in capsys.readouterr().err
    assert command(["watch", str(tmp_path), "--once"]) == 2
    assert "holds 2 runs" in capsys.readouterr().err
