from django.apps import AppConfig


class TriageConfig(AppConfig):
    """Models order what people look at; only people decide."""

    name = "triage"

    def ready(self) -> None:
        from archive.views import suggestions
        from triage import (  # noqa: F401  declare jobs
            doubtful,
            near,
            parts,
            phrases,
            pictures,
            pipeline,
            similar,
            telling,
            unusual,
            words,
        )
        from triage.suggesting import Offer

        suggestions.register(Offer())
        words.offer()
