"""manage.py makemessages: Django's, which also collects the sentences of event types (needs GNU gettext)."""

from django.core.management.commands import makemessages


class Command(makemessages.Command):
    """Collect what screens say into locale/*/LC_MESSAGES/django.po."""

    xgettext_options = [
        *makemessages.Command.xgettext_options,
        "--keyword=_any",
        "--keyword=_human",
        "--keyword=_human_or_operator",
    ]
    msgmerge_options = [*makemessages.Command.msgmerge_options, "--no-fuzzy-matching"]
    msgattrib_options = ["--no-obsolete"]
