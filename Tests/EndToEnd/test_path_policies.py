"""Rules for paths: what may not be seen is not found in any way, what may not be changed is not, for whom they are meant."""

import asyncio
import json
import os

import httpx2 as httpx
import pytest
from mcp import Client

from knap_host import wait_for
from test_live_changes import command
from test_official_client import http

TOKENS = {"reader": "reader-token", "other": "other-token"}


@pytest.fixture
def served(place):
    for path, text in {
        "Secret/Scheme.md": "zebra #hush [[Open]] [[Welcome]]\n- [ ] zebra task\n", "Secret/Deep/More.md": "zebra two\n",
        "Open.md": "[[Scheme]] zebra shown\n", "Templates/T.md": "[[Open]] template\n", "Work/Job.md": "zebra at work #job\n",
    }.items():
        (place.vault / path).parent.mkdir(parents=True, exist_ok=True)
        (place.vault / path).write_text(text)
    place.endpoint = place.serve()
    place.wait_until_indexed()
    set_to(place, "gateway.tokens", TOKENS)
    return place


def set_to(place, name, value):
    result = command(place, "config", "set", name, json.dumps(value))
    assert result.returncode == 0, result.stderr


def use(place, tool, token, **arguments):
    """A call over REST as a caller with a token."""
    answer = httpx.post(
        place.endpoint.replace("/mcp", f"/tools/{tool}"), json=arguments, headers={"Authorization": f"Bearer {token}"}, timeout=60)
    return answer.status_code, answer.json()


def ready(place, token):
    wait_for(lambda: "indexing" not in use(place, "list_notes", token)[1], "the view's index")


def test_what_a_caller_may_not_see_is_found_in_no_way_and_nobody_else_misses_it(served):
    change = served.call("vault.edit_note", path="Secret/Scheme.md", action="append", content="zebra more")["change"]
    both = served.call("vault.move_note", path="Open.md", to="Opened.md")["change"]
    set_to(served, "obsidian.policies", [{"path": "Secret", "access": "none", "callers": ["token:read*"]}])
    token = TOKENS["reader"]
    ready(served, token)

    def ask(tool, **arguments):
        status, answer = use(served, tool, token, **arguments)
        assert status == 200, answer
        return answer

    # Everything that a vault can be asked for, and not a word of it.
    answers = [
        ask("search_notes", query="zebra"), ask("search_notes", query="path:Secret"), ask("list_notes"), ask("list_tags"),
        ask("query_notes", path="Secret"), ask("query_notes", tag="hush"), ask("query_notes", links_to="Welcome.md"),
        ask("recent_changes", limit=100), ask("note_links", path="Welcome.md"), ask("history"), ask("list_tasks"),
        ask("note_processing"), ask("history", path="Secret"),
    ]
    for answer in answers:
        assert "Secret" not in json.dumps(answer) and "hush" not in json.dumps(answer), answer
    assert answers[0]["total"] == 2 and answers[9]["total"] == 0
    assert [each.get("path") for each in ask("note_links", path="Opened.md")["outgoing"]] == [None]
    # Nor do errors tell whether there is something.
    for tool, arguments in [
            ("read_note", {"path": "Secret/Scheme.md"}), ("read_note", {"path": "Scheme"}), ("read_note", {"path": "Secret/Schema.md"}),
            ("edit_note", {"path": "Secret/Scheme.md", "content": "x"}), ("note_data", {"path": "Secret/Scheme.md"}),
            ("list_notes", {"path": "Secret"}), ("list_notes", {"path": "Secre"}), ("move_note", {"path": "Secret/Scheme.md", "to": "X.md"}),
            ("delete_note", {"path": "Secret/Scheme.md"}), ("history", {"change": change}), ("history", {"change": both}),
            ("undo", {"changes": [change]})]:
        status, answer = use(served, tool, token, **arguments)
        assert status == 404, (tool, arguments, answer)
        assert "did you mean 'Secret" not in json.dumps(answer)
    there = use(served, "write_note", token, path="Secret/Scheme.md", content="x", overwrite=True)
    free = use(served, "write_note", token, path="Secret/Free.md", content="x", overwrite=True)
    into = use(served, "move_note", token, path="Welcome.md", to="Secret/Deep/More.md")
    assert there[0] == free[0] == into[0] == 403 and "obsidian.policies" in json.dumps(there[1])
    assert json.dumps(there[1]).replace("Scheme", "Free") == json.dumps(free[1])
    assert (served.vault / "Welcome.md").exists() and "zebra two" in (served.vault / "Secret/Deep/More.md").read_text()

    async def resource():
        async with Client(http(served, served.endpoint, token=token)) as client:
            with pytest.raises(Exception, match="no note"):
                await client.read_resource("vault:///Secret/Scheme.md")
            async with client.listen(resource_subscriptions=["vault:///Secret/Scheme", "vault:///Welcome.md"]) as changes:
                assert changes.honored.resource_subscriptions == ["vault:///Welcome.md"]
        async with Client(http(served, served.endpoint, token=token), mode="legacy") as client:
            await client.session.subscribe_resource("vault:///Welcome.md")
            for path in ("Scheme.md", "Nothing.md"):
                with pytest.raises(Exception, match="no resource"):
                    await client.session.subscribe_resource(f"vault:///Secret/{path}")

    asyncio.run(resource())
    # Others see it, by the same tools.
    for other in (TOKENS["other"], served.token):
        assert use(served, "search_notes", other, query="zebra")[1]["total"] == 4
    assert served.call("vault.search_notes", query="zebra")["total"] == 4
    # What is renamed into what may be seen is seen, and the other way round.
    os.rename(served.vault / "Secret/Deep/More.md", served.vault / "Shown.md")
    wait_for(lambda: ask("search_notes", query="zebra")["total"] == 3, "the shown note")
    os.rename(served.vault / "Shown.md", served.vault / "Secret/Deep/More.md")
    wait_for(lambda: ask("search_notes", query="zebra")["total"] == 2, "the hidden note")


def test_a_folder_that_may_only_be_read_is_changed_in_no_way(served):
    set_to(served, "obsidian.policies", [{"path": "Templates/", "access": "read"}])
    served.wait_until_indexed()
    before = (served.vault / "Templates/T.md").read_text()
    assert served.call("vault.read_note", path="Templates/T.md")["content"] == before
    for method, arguments in [
            ("write_note", {"path": "Templates/T.md", "content": "x", "overwrite": True}), ("write_note", {"path": "Templates/N.md", "content": "x"}),
            ("edit_note", {"path": "Templates/T.md", "content": "x"}), ("move_note", {"path": "Templates/T.md", "to": "T.md"}),
            ("move_note", {"path": "Work/Job.md", "to": "Templates/Job.md"}), ("delete_note", {"path": "templates/t.md"})]:
        result = served.knap("call", f"vault.{method}", json.dumps(arguments), "--state", str(served.state), "--json")
        error = json.loads(result.stderr)["error"]
        assert error["code"] == "PERMISSION_DENIED" and '"access": "read"' in error["message"], error
    # All or nothing: a link in a note that may not be changed keeps the move from being made.
    result = served.knap("call", "vault.move_note", '{"path": "Open.md", "to": "Else.md"}', "--state", str(served.state), "--json")
    assert result.returncode == 0 or json.loads(result.stderr)["error"]["code"] == "PERMISSION_DENIED"
    assert (served.vault / "Templates/T.md").read_text() == before
    assert not (served.vault / "Templates/N.md").exists() and (served.vault / "Work/Job.md").exists()


def test_one_folder_for_one_token_and_the_last_rule_that_fits_decides(served):
    set_to(served, "obsidian.policies", [
        {"path": "**", "access": "none", "callers": ["token:reader"]}, {"path": "Work", "access": "write", "callers": ["token:reader"]},
        {"path": "Work/*.fixed.md", "access": "read"}])
    token = TOKENS["reader"]
    ready(served, token)
    assert use(served, "list_notes", token)[1]["notes"] == ["Work/Job.md"]
    assert use(served, "write_note", token, path="Work/New.md", content="new zebra")[0] == 200
    assert use(served, "search_notes", token, query="zebra")[1]["total"] == 2
    assert use(served, "write_note", token, path="Work/a.fixed.md", content="x")[0] == 403
    assert use(served, "write_note", token, path="Elsewhere.md", content="x")[0] == 403
    change = use(served, "delete_note", token, path="Work/New.md")[1]["change"]
    assert use(served, "undo", token, changes=[change])[0] == 200 and (served.vault / "Work/New.md").read_text() == "new zebra"
    # What it did is in the one journal, and nobody can say that they are somebody else.
    assert served.call("vault.history")["total"] == 3
    assert use(served, "list_notes", "no-token")[0] == 401
    assert use(served, "list_notes", token, caller="local")[0] == 400


def test_two_callers_with_different_views_change_one_note_and_lose_nothing(served):
    set_to(served, "obsidian.policies", [{"path": "Secret", "access": "none", "callers": ["token:reader"]}])
    ready(served, TOKENS["reader"])

    async def work():
        async with httpx.AsyncClient(timeout=60) as client:
            async def add(token, word):
                answer = await client.post(
                    served.endpoint.replace("/mcp", "/tools/edit_note"), headers={"Authorization": f"Bearer {token}"},
                    json={"path": "Open.md", "action": "append", "content": word})
                assert answer.status_code == 200, answer.text

            await asyncio.gather(*(add(token, f"{name}{n}") for n in range(20) for name, token in TOKENS.items()))

    asyncio.run(work())
    lines = (served.vault / "Open.md").read_text().splitlines()
    assert sorted(lines[1:]) == sorted(f"{name}{n}" for n in range(20) for name in TOKENS)


def test_a_folder_moves_nowhere_that_a_rule_forbids_and_no_link_leads_around_one(served):
    (served.vault / "A/private").mkdir(parents=True)
    (served.vault / "A/private/x.md").write_text("mine")
    (served.vault / "Way").symlink_to("Secret")
    set_to(served, "obsidian.policies", [
        {"path": "B/private", "access": "read", "callers": ["token:reader"]}, {"path": "Secret", "access": "none", "callers": ["token:reader"]},
    ])
    token = TOKENS["reader"]
    ready(served, token)
    status, answer = use(served, "move_note", token, path="A", to="B")
    assert status == 403, answer
    assert (served.vault / "A/private/x.md").exists() and not (served.vault / "B").exists()
    for tool, arguments in [("read_note", {}), ("edit_note", {"action": "append", "content": "x"}), ("delete_note", {})]:
        status, answer = use(served, tool, token, path="Way/Scheme.md", **arguments)
        assert status == 404 and "zebra" not in json.dumps(answer), answer
    for folder in ["Secret/Deep", "Secret/Nowhere"]:
        status, answer = use(served, "move_note", token, path=folder + "/", to="Elsewhere", preview=True)
        assert status == 404, answer
    # Links of those whom it does not see are written whole, and it is told that others' stay.
    status, answer = use(served, "move_note", token, path="Opened.md" if (served.vault / "Opened.md").exists() else "Open.md", to="Work/Scheme.md")
    assert status == 200 and "may not see" in answer["warning"], answer
    assert "[[Work/Scheme]]" in (served.vault / "Templates/T.md").read_text()
