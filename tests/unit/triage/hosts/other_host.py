"""Another program at the far end of the pipe: does to us what a broken or hostile model process could do."""

import json
import os
import queue
import signal
import sys
import threading
import time

from triage.runtimes import wire


def main() -> None:
    incoming, outgoing = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    head, _ = wire.receive(incoming)
    wire.send(
        outgoing, {"ready": {"analysers": head["analysers"], "versions": {"opencv": "0", "bad": "<b>"}}}
    )
    items: queue.Queue = queue.Queue()
    threading.Thread(
        target=lambda: [items.put(wire.receive(incoming)) for _ in iter(int, 1)], daemon=True
    ).start()
    waiting = []
    while True:
        try:
            head, body = items.get(timeout=0.5 if waiting else None)
        except queue.Empty:  # nothing else came: answer what was begun
            for number in waiting:
                wire.send(outgoing, {"done": number, "at_ms": [0], "found": []})
            waiting = []
            continue
        number, order = head["id"], body.decode().strip()
        wire.send(outgoing, {"begun": number})
        if order == "slow":
            waiting.append(number)
            continue
        if order == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif order == "hang":
            time.sleep(3600)
        elif order == "eat":
            hoard = []
            while True:
                hoard.append(bytearray(b"x" * (1 << 24)))
        elif order == "garbage":
            outgoing.write(b"\xff" * 64)
            outgoing.flush()
            time.sleep(3600)
        elif order == "network":
            import socket

            try:
                socket.create_connection(("1.1.1.1", 53), timeout=2)
                answer = [[0, 0, 0, 1, 0, 0, 9, 9]]
            except OSError:
                answer = []
            wire.send(outgoing, {"done": number, "at_ms": [0], "found": answer})
        elif order.startswith("{"):
            wire.send(outgoing, {"done": number, **json.loads(order)})
        else:
            wire.send(
                outgoing,
                {"done": number, "at_ms": [0], "found": [[0, 0, 0, 5000, 0, 0, 10, 10]], "memory": 1},
            )


if __name__ == "__main__":
    main()
