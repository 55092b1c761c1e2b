"""What becomes of plugins in a running host: deaths, copies in the drop directory, reloads of the Gateway, and what
many of them leave behind."""

import os
import pathlib
import signal
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "EndToEnd"))
import plugins
import test_gateway_reload
from callers import Connection, carry_out
from footprint import Footprint
from knap_host import Place, wait_for
from test_workers import state_of


def row(what, times, target):
    times = sorted(times)
    p99 = times[min(len(times) - 1, int(len(times) * 0.99))]
    print(f"{what:58} {statistics.median(times) * 1000:8.1f} {p99 * 1000:8.1f} {target:>12}", flush=True)


def start(place, library):
    plugins.drop(place, library)
    name = library.stem
    wait_for(lambda: state_of(place, name) == "active", f"the start of {name}")
    return name


def deaths(place, operator, name, count):
    times = []
    for _ in range(count):
        process = operator.call(f"test.{name}.pid")["result"]
        began = time.monotonic()
        os.kill(process, signal.SIGKILL)
        while (answer := operator.call(f"test.{name}.pid")).get("result", process) == process:
            assert answer["status"] == 0, answer
        times.append(time.monotonic() - began)
    return times


def copies(place):
    """From the end of the copy to the list of tools in which a connected client finds the new one."""
    client, times = test_gateway_reload.StdioClient(place, calls=False), []
    for number in range(20):
        name = f"fresh-{number}"
        library = plugins.build(place.root / "built", name, contributes={"mcp": [
            {"kind": "tool", "name": f"tool_{number}", "title": name, "description": name, "method": f"test.{name}.echo"}]})
        plugins.drop(place, library)
        began = time.monotonic()
        while client.read_any().get("method") != "notifications/tools/list_changed":
            pass
        client.send({"jsonrpc": "2.0", "id": number, "method": "tools/list"})
        tools = client.read()["result"]["tools"]
        assert any(tool["name"] == f"tool_{number}" for tool in tools)
        times.append(time.monotonic() - began)
    client.close()
    row("end of a drop-in's copy to its tools listed at a client", times, "200 ms")


def flat(what, host, count, work):
    work(100)
    before = Footprint(host)
    work(count)
    wait_for(lambda: Footprint(host).descriptors <= before.descriptors, "the end of what is open")
    print(f"{count:,} {what}\n  before {before}\n  after  {Footprint(host)}", flush=True)


def reload(operator, name, count):
    for _ in range(count):
        done, message = carry_out(operator, "reload", name=name)
        assert done, message


def gateway(place, operator, reloads=100, streams=50):
    clients = [test_gateway_reload.StdioClient(place) for _ in range(2)]
    listening = [test_gateway_reload.Stream(place, number) for number in range(streams)]
    times = []
    for number in range(reloads):
        wait_for(lambda: all(stream.opened > number or stream.failures for stream in listening), "the streams")
        began = time.monotonic()
        reload(operator, "gateway", 1)
        times.append(time.monotonic() - began)
    for stream in listening:
        stream.stopping = True
    for client in clients:
        client.close()
    asked = sum(client.asked for client in clients)
    answers = [answer["id"] for client in clients for answer in client.answers if "error" not in answer]
    lost = asked - sum(len({answer["id"] for answer in client.answers}) for client in clients)
    row(f"{reloads} reloads of the Gateway, {streams} streams, 2 stdio clients: each", times, "")
    print(f"  {asked} calls asked, {lost} lost, {len(answers) - asked + lost} doubled; streams that failed: "
          f"{sum(bool(stream.failures) for stream in listening)}; answered ends: {sum(stream.ends for stream in listening)}", flush=True)


def main():
    scale = float(sys.argv[1]) if len(sys.argv) > 1 else 1
    place = Place()
    try:
        place.endpoint = place.serve()
        place.wait_until_indexed()
        operator, folder = Connection(place), place.root / "built"
        print(f"{'':58} {'p50 ms':>8} {'p99 ms':>8} {'target':>12}")
        name = start(place, plugins.build(
            folder, "mortal", restart={"max_restarts": 1000, "period_ms": 10_000, "backoff_initial_ms": 1, "backoff_max_ms": 5}))
        row("a killed worker back: from the kill to the next answer", deaths(place, operator, name, 200), "50 ms")
        copies(place)
        host = place.host_pid()
        flat("worker reloads", host, int(5000 * scale), lambda count: reload(operator, name, count))
        flat("kills of a worker", host, int(1000 * scale), lambda count: deaths(place, operator, name, count))
        gateway(place, operator)
    finally:
        place.close()


main()
