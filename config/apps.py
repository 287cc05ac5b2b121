"""Lets Django know the checks."""

from django.apps import AppConfig


class ConfigApp(AppConfig):
    """Settings, routes and processes."""

    name = "config"

    def ready(self) -> None:
        """Register what `manage.py check` and a production start look at."""
        from config import checks  # noqa: F401
