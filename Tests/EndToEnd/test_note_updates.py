"""Clients that subscribed to a note hear of its changes, whoever makes them, with the official client in both eras."""

import asyncio
import os

import pytest
from mcp import Client

from test_official_client import http, stdio, text


def save_as_editors_do(path, content):
    """A new file beside it, renamed over it: vim, VS Code and most others."""
    part = path.with_name(f".{path.name}.swp")
    part.write_text(content)
    os.rename(part, path)


class Listener:
    """The addresses that one client was told of, in one era or the other."""

    def __init__(self, client, mode):
        self.client, self.mode = client, mode
        self.uris = []
        self.task = None

    async def message(self, message):
        if self.mode == "legacy" and getattr(message, "method", "") == "notifications/resources/updated":
            self.uris.append(str(message.params.uri))

    async def subscribe(self, *uris):
        if self.mode == "legacy":
            for uri in uris:
                await self.client.session.subscribe_resource(uri)
            return
        ready = asyncio.Event()

        async def listen():
            async with self.client.listen(resource_subscriptions=list(uris)) as changes:
                ready.set()
                async for change in changes:
                    self.uris.append(str(getattr(change, "uri", change)))

        self.task = asyncio.create_task(listen())
        await ready.wait()

    async def heard(self, uri, count=1):
        for _ in range(3000):
            if sum(uri in each for each in self.uris) >= count:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"nothing was said of {uri}; only {self.uris}")

    async def end(self):
        if self.task:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_a_subscriber_hears_of_an_editors_save_of_knaps_own_changes_a_move_and_a_deletion(place, mode, transport):
    server = http(place, place.serve()) if transport == "http" else stdio(place)
    (place.vault / "My day.md").write_text("calm\n")

    async def work():
        listener = Listener(None, mode)
        async with Client(server, mode=mode, message_handler=listener.message) as client:
            listener.client = client
            place.wait_until_indexed()
            mine = "vault:///My%20day.md"
            await listener.subscribe(mine, "vault:///Ideas.md", "vault:///Later.md", "vault://vault/Welcome")
            save_as_editors_do(place.vault / "My day.md", "busy\n")
            await listener.heard(mine)
            assert (await client.read_resource(mine)).contents[0].text == "busy\n"
            with (place.vault / "My day.md").open("a") as file:
                file.write("and late\n")
            await listener.heard(mine, 2)
            text(await client.call_tool("edit_note", {"path": "My day.md", "action": "append", "content": "tired"}))
            await listener.heard(mine, 3)
            # By the vault's name, and without the extension.
            text(await client.call_tool("edit_note", {"path": "Welcome.md", "action": "append", "content": "hello"}))
            await listener.heard("vault://vault/Welcome")
            # A move is a change of both places, and a deletion is one too.
            text(await client.call_tool("move_note", {"path": "Ideas.md", "to": "Later.md"}))
            await listener.heard("vault:///Ideas.md")
            await listener.heard("vault:///Later.md")
            text(await client.call_tool("delete_note", {"path": "Later.md"}))
            await listener.heard("vault:///Later.md", 2)
            os.unlink(place.vault / "My day.md")
            await listener.heard(mine, 4)
            # Each change is told once, and nothing of notes that were not subscribed to.
            text(await client.call_tool("write_note", {"path": "Other.md", "content": "x"}))
            (place.vault / "Ideas.md").write_text("new\n")
            await listener.heard("vault:///Ideas.md", 2)
            assert sum(mine in each for each in listener.uris) == 4, listener.uris
            assert not any("Other" in each for each in listener.uris)
            await listener.end()

    asyncio.run(work())


@pytest.mark.parametrize("plugin", ["obsidian", "gateway"])
def test_subscriptions_go_on_over_a_reload(place, plugin):
    async def work():
        listener = Listener(None, "legacy")
        async with Client(stdio(place), mode="legacy", message_handler=listener.message) as client:
            listener.client = client
            place.wait_until_indexed()
            rounds = range(1, 5)
            await listener.subscribe(*(f"vault:///Round%20{count}.md" for count in rounds))
            for count in rounds:
                # Some are made while there is no feed.
                reload = asyncio.create_task(asyncio.to_thread(place.knap, "plugins", "reload", plugin, "--state", str(place.state)))
                save_as_editors_do(place.vault / f"Round {count}.md", "new\n")
                result = await reload
                assert result.returncode == 0, result.stderr
                await listener.heard(f"vault:///Round%20{count}.md")

    asyncio.run(work())
