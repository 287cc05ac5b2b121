"""Every key of the keyboard, once: printed on what it does, read by static/js/keys.js, listed by `?`.

One key means the same on every screen. `code` is the physical key, so that the keys also work on a
keyboard set to Arabic or Russian.
"""

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


@dataclass(frozen=True)
class Key:
    """One key: what is pressed, the physical key behind it, the group and words of the list."""

    press: str
    code: str
    group: str
    words: str | Promise
    shift: bool = False


GROUPS: dict[str, str | Promise] = {
    "decide": _("Decide"),
    "look": _("Look"),
    "play": _("Play"),
    "redact": _("Draw and redact"),
    "go": _("Go"),
}

KEYS: dict[str, Key] = {
    "relevant": Key("1", "Digit1", "decide", _("Relevant; yes")),
    "not_relevant": Key("2", "Digit2", "decide", _("Not relevant; no")),
    "second_look": Key("3", "Digit3", "decide", _("Second look; cannot tell")),
    "escalate": Key("4", "Digit4", "decide", _("Escalate")),
    "reason": Key("R", "KeyR", "decide", _("Write a reason")),
    "undo": Key("U", "KeyU", "decide", _("Undo the last decision")),
    "postpone": Key("P", "KeyP", "decide", _("Postpone, with a reason")),
    "group": Key("S", "KeyS", "decide", _("Look at the items that look the same")),
    "veil": Key("V", "KeyV", "look", _("Lift or lower the veil")),
    "boxes": Key("B", "KeyB", "look", _("Boxes on or off")),
    "note": Key("N", "KeyN", "look", _("Write a note")),
    "tag": Key("T", "KeyT", "look", _("Add a tag")),
    "example": Key("G", "KeyG", "look", _("Give it as an example")),
    "open": Key("O", "KeyO", "look", _("Open everything about this item")),
    "play": Key("K", "KeyK", "play", _("Play or pause")),
    "frame_back": Key(",", "Comma", "play", _("One frame back")),
    "frame_on": Key(".", "Period", "play", _("One frame on")),
    "shot_back": Key("[", "BracketLeft", "play", _("Back to the last change")),
    "shot_on": Key("]", "BracketRight", "play", _("On to the next change")),
    "sound": Key("M", "KeyM", "play", _("Sound on or off")),
    "draw": Key("D", "KeyD", "redact", _("Draw a box")),
    "box_next": Key("L", "KeyL", "redact", _("Go to the next box")),
    "box_accept": Key("C", "KeyC", "redact", _("Confirm the suggested box")),
    "box_refuse": Key("X", "KeyX", "redact", _("Reject or delete the box")),
    "range_start": Key("I", "KeyI", "redact", _("It starts here")),
    "range_end": Key("E", "KeyE", "redact", _("It ends here")),
    "nudge_left": Key(
        "\N{LEFTWARDS ARROW}", "ArrowLeft", "redact", _("Move the box left; with Shift: narrower")
    ),
    "nudge_right": Key(
        "\N{RIGHTWARDS ARROW}", "ArrowRight", "redact", _("Move the box right; with Shift: wider")
    ),
    "nudge_up": Key("\N{UPWARDS ARROW}", "ArrowUp", "redact", _("Move the box up; with Shift: lower")),
    "nudge_down": Key(
        "\N{DOWNWARDS ARROW}", "ArrowDown", "redact", _("Move the box down; with Shift: taller")
    ),
    "nudge_larger": Key("+", "NumpadAdd", "redact", _("Make the box larger")),
    "nudge_smaller": Key("-", "Minus", "redact", _("Make the box smaller")),
    "next": Key("J", "KeyJ", "go", _("Next")),
    "question": Key("Q", "KeyQ", "go", _("The next question")),
    "search": Key("/", "Slash", "go", _("Search")),
    "keys": Key("?", "Slash", "go", _("All keys"), shift=True),
}


def for_browser() -> dict[str, dict[str, str | bool]]:
    """What static/js/keys.js needs, by name of the act."""
    return {name: {"press": k.press, "code": k.code, "shift": k.shift} for name, k in KEYS.items()}


def listed() -> list[tuple[str | Promise, list[Key]]]:
    """All keys by group, in the order of the list that `?` shows."""
    return [(words, [k for k in KEYS.values() if k.group == group]) for group, words in GROUPS.items()]
