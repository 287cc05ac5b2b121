"""What templates say in one word: keys, hashes, moments, sizes, chips, the side list.

Figures look the same in every language (1,204 and 0.31), so that two readers never read two numbers.
"""

import datetime as dt
from typing import Any

from django import template
from django.templatetags.static import static
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext

from archive import keys as all_keys
from archive.views import navigation

register = template.Library()

ROLES = {
    "administrator": gettext_lazy("administrator"),
    "researcher": gettext_lazy("researcher"),
    "reviewer": gettext_lazy("reviewer"),
    "legal": gettext_lazy("legal"),
    "data_scientist": gettext_lazy("data scientist"),
    "observer": gettext_lazy("observer"),
}
QUEUES = {
    "default": gettext_lazy("reading back, sequencing, bundles"),
    "media": gettext_lazy("examining files, making copies"),
    "analyse": gettext_lazy("models"),
}


@register.simple_tag
def icon(name: str, turns: bool = False) -> SafeString:
    """One icon of the sprite, silent to screen readers. `turns`: it points along the line of reading."""
    sprite = static("vendor/lucide/sprite.svg")
    extra = " turns" if turns else ""
    return format_html(
        '<svg class="icon{}" aria-hidden="true"><use href="{}#{}"></use></svg>', extra, sprite, name
    )


@register.simple_tag
def key(name: str) -> SafeString:
    """The key for an act, printed on what it does. An unknown name is a programming error (KeyError)."""
    return format_html('<kbd class="key" dir="ltr" aria-hidden="true">{}</kbd>', all_keys.KEYS[name].press)


@register.simple_tag
def hear(name: str) -> SafeString:
    """The attributes that bind an element to its key."""
    return format_html('data-key="{}" aria-keyshortcuts="{}"', name, all_keys.KEYS[name].press)


@register.filter
def ltr(value: object) -> SafeString:
    """A code, number, file name or Latin name, kept whole in a line that runs right to left."""
    return format_html('<bdi dir="ltr">{}</bdi>', "" if value is None else value)


@register.filter
def count(value: int | None) -> SafeString:
    """A whole number with separators."""
    return ltr("–" if value is None else f"{value:,}")


@register.filter
def weight(value: int | None) -> SafeString:
    """A size in bytes, for reading: 1 kB is 1,000 bytes."""
    if value is None:
        return ltr(_("unknown"))
    amount, unit = float(value), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if amount < 1000 or unit == "TB":
            break
        amount /= 1000
    return ltr(f"{amount:,.{0 if unit == 'B' or amount >= 100 else 1}f} {unit}")


@register.filter
def clock(seconds: float | None) -> SafeString:
    """Seconds as 0:48 or 1:02:03."""
    if seconds is None:
        return ltr("–")
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, secs = divmod(rest, 60)
    return ltr(f"{hours}:{minutes:02}:{secs:02}" if hours else f"{minutes}:{secs:02}")


@register.filter
def decimals(value: float | None, places: int = 2) -> SafeString:
    """A number with a fixed number of decimals."""
    return ltr("–" if value is None else f"{value:.{places}f}")


@register.filter
def signed(value: float | None) -> SafeString:
    """A contribution with its sign: +0.31, −0.10."""
    if value is None:
        return ltr("–")
    return ltr(f"{'+' if value >= 0 else '−'}{abs(value):.2f}")


@register.simple_tag
def when(moment: dt.datetime | dt.date | None, time: bool = True) -> SafeString:
    """A date with its month in words, and the zone beside every time of day."""
    if moment is None:
        return format_html('<span class="faint">{}</span>', _("unknown"))
    if not isinstance(moment, dt.datetime):
        return format_html('<time datetime="{}">{}</time>', moment.isoformat(), date_format(moment, "j M Y"))
    local = timezone.localtime(moment) if timezone.is_aware(moment) else moment
    pattern = pgettext("day and time", "j M Y, H:i") if time else "j M Y"
    if not time:
        zone = ""
    elif timezone.is_aware(local):
        zone = format_html(' <span class="zone">{}</span>', local.tzname() or "UTC")
    else:
        zone = format_html(' <span class="zone none">{}</span>', _("no time zone"))
    return format_html(
        '<time datetime="{}"><bdi>{}</bdi>{}</time>', moment.isoformat(), date_format(local, pattern), zone
    )


@register.simple_tag
def hash(value: str | None, short: bool = False) -> SafeString:
    """A hash in groups of four, copied whole by a click."""
    if not value:
        return format_html('<span class="faint">{}</span>', _("none"))
    groups = [value[i : i + 4] for i in range(0, len(value), 4)]
    shown = " ".join([*groups[:4], "…", groups[-1]] if short and len(groups) > 6 else groups)
    return format_html(
        '<button type="button" class="hash" dir="ltr" data-copy="{}" title="{}">{}</button>',
        value,
        _("Copy the whole hash"),
        shown,
    )


@register.simple_tag
def meter(share: float, machine: bool = False) -> SafeString:
    """A bar for a share from 0 to 1; dashed when a machine says it."""
    width = round(max(0.0, min(1.0, share)) * 100, 1)
    line = ' class="machine"' if machine else ""
    return format_html(
        '<svg class="meter" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">'
        f'<line{line} x1="0" y1="3" x2="{{}}" y2="3"/></svg>',
        width,
    )


@register.simple_tag
def how_many(number: int, more: bool = False) -> str:
    """'1 item', '412 items', 'more than 10,000 items'."""
    text = f"{number:,}"
    if more:
        return _("more than %(count)s items") % {"count": text}
    return ngettext("%(count)s item", "%(count)s items", number) % {"count": text}


@register.simple_tag(takes_context=True)
def side_list(context: dict[str, Any]) -> list[navigation.Section]:
    """The side list of this screen: the case's part, if there is one, and everything."""
    return navigation.sections(context)


@register.simple_tag
def role_words(user: Any) -> str:
    """The roles of a person, in words."""
    return _(", ").join(str(ROLES.get(name, name)) for name in sorted(user.roles())) or _("no role")


@register.filter
def queue_words(names: list[str]) -> str:
    """Names of the workers' queues, in words."""
    return _(", ").join(str(QUEUES.get(name, name)) for name in names)


@register.simple_tag
def keys_listed() -> list[tuple[Any, list[all_keys.Key]]]:
    """All keys by group, for the dialog behind `?`."""
    return all_keys.listed()


@register.simple_tag
def keys_data() -> dict[str, dict[str, str | bool]]:
    """All keys, for the browser."""
    return all_keys.for_browser()


@register.simple_tag
def attributes(**given: object) -> SafeString:
    """HTML attributes from names and values; those without a value are left out."""
    return format_html_join(
        " ", '{}="{}"', ((k.replace("_", "-"), v) for k, v in given.items() if v not in (None, ""))
    )
