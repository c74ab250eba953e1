"""Shows how h11 reads what a server receives.

Each line of standard input is what one client sends, in hexadecimal. Each line of standard output lists what h11 makes of it, a
tab between: "accepted END" for each request, with the number of bytes up to its end, and at last why it goes no further.
"""

import sys

import h11


def verdicts(received):
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(received)
    ended = False
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as error:
            yield f"unfinished, then refused {error}" if ended else f"refused {error}"
            return
        if event is h11.NEED_DATA:
            if ended or connection.their_state is not h11.IDLE:
                yield "unfinished"
                return
            connection.receive_data(b"\r\n\r\n")
            ended = True
        elif isinstance(event, h11.EndOfMessage):
            if ended:
                yield "unfinished"
                return
            yield f"accepted {len(received) - len(connection.trailing_data[0])}"
            connection.send(h11.Response(status_code=404, headers=[("Content-Length", "0")]))
            connection.send(h11.EndOfMessage())
            if connection.our_state is h11.MUST_CLOSE:
                yield "over"
                return
            connection.start_next_cycle()
            if not connection.trailing_data[0]:
                yield "over"
                return


for line in sys.stdin:
    print("\t".join(verdicts(bytes.fromhex(line))), flush=True)
