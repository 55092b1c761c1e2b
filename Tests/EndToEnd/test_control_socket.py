"""The control socket as a program of one's own uses it: one connection, many calls."""

from callers import Connection


def test_a_connection_serves_one_call_after_the_other(place):
    place.serve()
    caller = Connection(place)
    for number in range(2000):
        # Some are answered before the connection looks, some are refused before anybody is asked.
        caller.socket.sendall([b'{"call":"host.info"}\n', b'{"call":7}\n', b'{"call":"host.info","deadline_ms":null}\n'][number % 3])
        assert caller.receive()["status"] == (3 if number % 3 == 1 else 0), number
    caller.close()
