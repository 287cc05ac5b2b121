"""python -m witness new-key | add-log | serve | show"""

import argparse
import logging
import signal
import sqlite3
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from witness.note import ED25519, ML_DSA_44, Key, Malformed
from witness.server import Server
from witness.store import Log, Refused, Store, Unusable


def main(arguments: list[str] | None = None) -> int:
    """Run a sub-command. Returns 0, or 2 with a sentence when it could not be done."""
    options = parser().parse_args(arguments)
    try:
        options.verb(options)
    except (Unusable, Malformed, Refused) as error:
        print(f"witness: {error}", file=sys.stderr)
        return 2
    except (OSError, sqlite3.Error) as error:
        print(f"witness: {error}. Nothing was cosigned.", file=sys.stderr)
        return 2
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m witness", description="Cosign checkpoints of logs.")
    verbs = top.add_subparsers(required=True)

    def verb(
        name: str, function: Callable[[argparse.Namespace], None], words: str
    ) -> argparse.ArgumentParser:
        sub = verbs.add_parser(name, help=words, description=words)
        sub.add_argument("folder", type=Path, help="the folder of this witness")
        sub.set_defaults(verb=function)
        return sub

    verb("new-key", new_key, "make a witness in a new folder").add_argument(
        "name", help="the name that it signs under, such as witness.example/w1"
    )
    add = verb("add-log", add_log, "trust keys for a log")
    add.add_argument("keys", nargs="+", metavar="KEY", help="the log's verifier keys: name+id+base64")
    add.add_argument("--origin", help="the first line of its checkpoints, when it is not the keys' name")
    add.add_argument("--replace", action="store_true", help="no longer trust its other keys")
    server = verb("serve", serve, "answer add-checkpoint over HTTP")
    server.add_argument("--listen", default="127.0.0.1:7380", metavar="HOST:PORT")
    server.add_argument("--prefix", default="", help="path before /add-checkpoint")
    verb("show", show, "print the witness's keys and what it last cosigned")
    return top


def new_key(options: argparse.Namespace) -> None:
    """Make keys and print the public ones."""
    for key in Store.create(options.folder, options.name).keys():
        print(key)


def add_log(options: argparse.Namespace) -> None:
    """Trust keys of a log."""
    keys = tuple(map(Key.parse, options.keys))
    if any(key.type not in (ED25519, ML_DSA_44) for key in keys):
        raise Malformed("a log signs with a key of type 1 or 6")
    if len({key.name for key in keys}) > 1 and not options.origin:
        raise Malformed("the keys have several names: say the log's --origin")
    show_log(Store(options.folder).add_log(options.origin or keys[0].name, keys, replace=options.replace))


def serve(options: argparse.Namespace) -> None:
    """Answer until stopped."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    host, _, port = options.listen.rpartition(":")
    if not port.isdecimal():
        raise Unusable("--listen is HOST:PORT, such as 127.0.0.1:7380")
    store = Store(options.folder)
    with Server((host.strip("[]"), int(port)), store, options.prefix) as server:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        print(
            f"{store.name} listens on {host}:{server.server_port}{server.prefix}/add-checkpoint", flush=True
        )
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return


def show(options: argparse.Namespace) -> None:
    """Print keys and logs."""
    store = Store(options.folder)
    for key in store.keys():
        print(key)
    for log in store.logs():
        show_log(log)


def show_log(log: Log) -> None:
    """Print one log."""
    print(f"\nlog {log.origin}")
    for key in log.keys:
        print(f"  key {key}")
    if log.size is None:
        print("  nothing cosigned yet")
    else:
        when = datetime.fromtimestamp(log.moment, UTC)
        print(f"  size {log.size}, root {log.root.hex()}, cosigned {when:%Y-%m-%d %H:%M:%S} UTC")


if __name__ == "__main__":
    sys.exit(main())
