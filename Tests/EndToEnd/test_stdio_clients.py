"""Clients on stdio that write lines in every way, too much at once, never read, or leave in every way."""

import json
import os
import select
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from knap_host import KNAP, Place, wait_for
from wire import INITIALIZE, PING, Pipes, call, chatter, kilobytes, lasting, legacy, modern

PONG = {"jsonrpc": "2.0", "id": 1, "result": {}}
NOTHING = {"jsonrpc": "2.0", "id": 2, "error": {
    "code": -32601, "message": "The method nothing does not exist in this revision of the protocol."}}


def answers_in(messages):
    """Without what is told meanwhile."""
    return [message for message in messages if "method" not in message]


@pytest.fixture(scope="module")
def shared():
    made = Place()
    made.serve()
    chatter(made)
    yield made
    made.close()


@pytest.fixture
def served(shared):
    yield shared
    assert Pipes(shared).all(PING) == [PONG]


LINES = {
    "one line": (PING + b"\n", [PONG]),
    "no newline at the end": (PING, [PONG]),
    "lines that end as on Windows": (PING + b"\r\n" + legacy("nothing", 2) + b"\r\n", [PONG, NOTHING]),
    "blank lines": (b"\n\r\n  \n\t\n" + PING + b"\n\n", [PONG]),
    "spaces around": (b"  " + PING + b" \t\n", [PONG]),
    "a byte order mark": (b"\xef\xbb\xbf" + PING + b"\n" + legacy("nothing", 2), [PONG, NOTHING]),
    "nothing": (b"", []),
    "a newline": (b"\n", []),
    "a pair of surrogates": (rb'{"jsonrpc":"2.0","id":"\ud83d\ude00","method":"ping"}', [{**PONG, "id": "😀"}]),
    "a return": (b"\r" + PING + b"\n", [PONG]),
}


@pytest.mark.parametrize("what", LINES)
def test_lines_are_read_as_clients_write_them(served, what):
    sent, answers = LINES[what]
    assert sorted(Pipes(served).all(sent), key=lambda each: str(each["id"])) == answers


def test_numbers_ids_and_names_come_back_as_they_were_written(served):
    for number in [b"7" * 400, b"-" + b"9" * 400, b"-0", b'"' + b"x" * 1_000_000 + b'"', b'""', '"\u00e9"'.encode(), '"e\u0301"'.encode()]:
        out, _ = Pipes(served).process.communicate(b'{"jsonrpc":"2.0","id":%s,"method":"ping"}' % number, timeout=60)
        assert out == b'{"jsonrpc":"2.0","id":%s,"result":{}}\n' % number
    # The arguments of a call: also names that differ in their normal form only, and the last of two.
    for text, back in [(b"7" * 400, None), (b"1e999999999", None), (b"1.0", None), (b'{"\xc3\xa9":1,"e\xcc\x81":2}', None),
                       (b'{"a":1,"b":2,"a":3}', b'{"a":3,"b":2}'), (b"[" * 500 + b"]" * 500, None)]:
        sent = call("echo").replace(b'"arguments": {}', b'"arguments": {"it": %s}' % text)
        (answer,) = Pipes(served).all(sent)
        assert answer["result"]["content"][0]["text"].encode() == b'{"it":%s}' % (back or text)


def test_what_clients_say_is_not_said_again_at_length(served):
    long = "x" * 1_000_000
    asked = [legacy(long), call(long), call("use_tool", name=long), call("find_tools", query=long), modern(long), modern("tools/call", name=long),
             legacy("prompts/get", name=long), legacy("tools/list", cursor=long), legacy("completion/complete", ref=long),
             legacy("logging/setLevel", level=long), call("find_tools", query="a " * 500_000 + "tags")]
    for sent in asked:
        (answer,) = Pipes(served).all(sent)
        assert len(json.dumps(answer)) < 20_000, (sent[:60], json.dumps(answer)[:300])


def test_thousands_of_requests_at_once_are_all_answered(served):
    answers = Pipes(served).all(*(call("echo", number, value=number) + b"\n" for number in range(5000)))
    assert sorted(answer["id"] for answer in answers) == list(range(5000))
    assert all(json.loads(answer["result"]["content"][0]["text"]) == {"value": answer["id"]} for answer in answers)


def test_cancelled_and_answered_ids_that_nobody_knows_change_nothing(served):
    strange = [{"method": "notifications/cancelled", "params": {"requestId": each}} for each in (99, "x", None, {}, [])]
    strange += [{"method": "notifications/cancelled"}, {"method": "nothing"}, {"id": 7, "result": {}},
                {"id": "knap-nobody-asked", "error": {"code": 1, "message": "x"}}, {"result": 1}, {"id": 9, "error": 1}]
    assert Pipes(served).all(*(json.dumps({"jsonrpc": "2.0", **each}).encode() + b"\n" for each in strange), PING) == [PONG]


@pytest.mark.storms
def test_a_client_that_never_reads_is_not_read_from_either_and_costs_little(served):
    host = served.host_pid()
    before = kilobytes(host)
    silent = [Pipes(served) for _ in range(4)]
    # Each asks for 10 GB, in requests of 100 MB, of which soon nobody takes any more.
    for pipes in silent:
        sent = [call("say", each, bytes=1_000_000, padding="x" * 10_000) + b"\n" for each in range(10_000)]
        assert pipes.write_while_taken(sent, seconds=1) < 5000
    chatty = Pipes(served)
    chatty.send(call("chat", 1, progress=1, times=20_000, bytes=10_000) + b"\n")
    wait_for(lambda: lasting(served) == 1, "the call")
    wait_for(lambda: lasting(served) == 0, "its end")
    assert kilobytes(host) - before < 400_000, (before, kilobytes(host))
    # What was taken is answered, whenever it is read.
    assert len({silent[0].message()["id"] for _ in range(100)}) == 100
    for pipes in [*silent, chatty]:
        pipes.process.stdin.close()
    for pipes in [*silent, chatty]:
        assert pipes.close() == 0


def test_lines_just_below_and_above_the_longest(served):
    longest = (64 << 20) + (64 << 10)
    for size in (longest - 1, longest):
        sent = legacy("ping", 1, a="x" * (size - len(legacy("ping", 1, a=""))))
        assert len(sent) == size and Pipes(served).all(sent) == [PONG]
    # Much longer ones cost no more.
    for size in (longest + 1, 5 * longest):
        pipes = Pipes(served)
        sent = legacy("ping", 1, a="x" * (size - len(legacy("ping", 1, a=""))))
        refused, answer = pipes.all(sent + b"\n" + PING)
        assert "longer than" in refused["error"]["message"] and answer == PONG


def test_cancelling_what_a_client_has_not_read_yet_does_not_cost_it_the_rest(served):
    pipes = Pipes(served)
    pipes.send(*(call("say", number, bytes=1_000_000) + b"\n" for number in range(2, 50)))
    wait_for(lambda: select.select([pipes.process.stdout], [], [], 0)[0], "the first of the answers")
    cancel = [json.dumps({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": number}}).encode() + b"\n"
              for number in range(2, 50)]
    pipes.send(*cancel, PING + b"\n")
    for _ in iter(pipes.message, PONG):
        pass
    assert pipes.close() == 0


# The end


def test_the_end_of_the_input_within_a_line_is_an_error_and_an_orderly_end(served):
    answer, refused = Pipes(served).all(PING + b"\n" + PING[:-5])
    assert answer == PONG and refused["error"]["code"] == -32700


def test_requests_under_way_at_the_end_of_the_input_are_answered(served):
    answers = answers_in(Pipes(served).all(*(call("chat", number, times=2_000) + b"\n" for number in range(20))))
    assert sorted(answer["id"] for answer in answers) == list(range(20))
    assert all("result" in answer for answer in answers)


def test_what_does_not_end_is_given_up_soon_after_the_end_of_the_input(served):
    pipes = Pipes(served)
    pipes.send(call("wait", 1) + b"\n", call("chat", 2, progress=2) + b"\n")
    wait_for(lambda: lasting(served) == 2, "the calls")
    out, _ = pipes.process.communicate(timeout=30)
    assert pipes.process.returncode == 0
    assert b'"id":1,' not in out
    wait_for(lambda: lasting(served) == 0, "their cancellation")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_relay_that_is_told_to_stop_answers_what_is_under_way_and_ends_with_0(served, number):
    pipes = Pipes(served)
    for each in range(8):
        pipes.send(call("chat", each, times=4_000) + b"\n")
    wait_for(lambda: lasting(served), "the calls")
    pipes.process.send_signal(number)
    answers = answers_in(json.loads(line) for line in pipes.process.stdout)
    assert sorted(answer["id"] for answer in answers) == list(range(8)) and pipes.process.wait(10) == 0


def test_a_second_signal_ends_a_relay_at_once(served):
    pipes = Pipes(served)
    pipes.send(call("wait", 1) + b"\n")
    wait_for(lambda: lasting(served) == 1, "the call")
    while pipes.process.poll() is None:
        pipes.process.send_signal(signal.SIGTERM)
        time.sleep(0.01)
    assert pipes.process.returncode == 128 + signal.SIGTERM
    wait_for(lambda: lasting(served) == 0, "its cancellation")


def test_a_relay_whose_output_nobody_reads_any_more_ends_at_once(served):
    pipes = Pipes(served)
    pipes.send(PING + b"\n")
    assert pipes.message() == PONG
    pipes.process.stdout.close()
    assert pipes.process.wait(10) == 0


PARENT = textwrap.dedent("""
    import subprocess, sys, time
    relay = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    relay.stdin.write(b'{"jsonrpc":"2.0","id":1,"method":"ping"}\\n')
    relay.stdin.flush()
    relay.stdout.readline()
    print(relay.pid, flush=True)
    time.sleep(1000)
""")


def is_running(process):
    try:
        return open(f"/proc/{process}/stat").read().rsplit(") ", 1)[1][0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("keeps_pipes", [False, True])
def test_a_relay_ends_at_once_when_its_client_is_killed(served, keeps_pipes):
    """Also where somebody else still has the other ends of its pipes."""
    client = subprocess.Popen(
        [sys.executable, "-c", PARENT, KNAP, *served.relay_arguments()], stdout=subprocess.PIPE, env=served.environment)
    relay = int(client.stdout.readline())
    descriptors = [os.open(f"/proc/{relay}/fd/{number}", flags) for number, flags in ((0, os.O_WRONLY), (1, os.O_RDONLY))] if keeps_pipes else []
    client.kill()
    client.wait()
    wait_for(lambda: not is_running(relay), "the relay's end", 10)
    for descriptor in descriptors:
        os.close(descriptor)
    client.stdout.close()


def test_a_relay_that_waits_for_a_host_ends_with_its_client(served):
    """A host that hangs answers nobody."""
    place = Place()
    place.serve()
    host = place.host_pid()
    os.kill(host, signal.SIGSTOP)
    client = subprocess.Popen([sys.executable, "-c", PARENT, KNAP, *place.relay_arguments()], stdout=subprocess.PIPE, env=place.environment)

    def relay():
        children = open(f"/proc/{client.pid}/task/{client.pid}/children").read().split()
        return int(children[0]) if children and "connect" not in open(f"/proc/{children[0]}/wchan").read() else None

    waiting = wait_for(relay, "the relay's start")
    wait_for(lambda: len(os.listdir(f"/proc/{waiting}/fd")) > 4, "its connection")
    client.kill()
    client.wait()
    client.stdout.close()
    wait_for(lambda: not is_running(waiting), "the relay's end", 10)
    os.kill(host, signal.SIGCONT)
    place.close()


def test_a_relay_says_so_when_its_host_is_gone():
    place = Place()
    place.serve()
    pipes = Pipes(place)
    pipes.send(PING + b"\n")
    assert pipes.message() == PONG
    os.kill(place.host_pid(), signal.SIGKILL)
    assert pipes.process.wait(10) == 69 and b"host has ended" in pipes.process.stderr.read()
    place.close()


def test_a_host_that_is_told_to_stop_answers_what_its_relays_asked():
    place = Place()
    place.serve()
    chatter(place)
    relays = [Pipes(place) for _ in range(4)]
    for number, pipes in enumerate(relays):
        pipes.send(INITIALIZE + b"\n")
        pipes.answer(0)
        pipes.send(modern("subscriptions/listen", "heard", notifications={"toolsListChanged": True}) + b"\n")
        pipes.send(call("chat", 100 + number, times=4_000) + b"\n")
    wait_for(lambda: lasting(place) == len(relays), "the calls")
    process = place.processes[0]
    process.send_signal(signal.SIGTERM)
    for number, pipes in enumerate(relays):
        messages = [json.loads(line) for line in pipes.process.stdout]
        answers = {message["id"]: message for message in messages if "method" not in message}
        assert "result" in answers[100 + number], messages
        assert "result" in answers["heard"], messages
        pipes.process.wait(10)
    assert process.wait(30) == 0
    place.close()
