"""WSGI door: gunicorn with threads, since uploads and ranges stream."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
application = get_wsgi_application()

from config.checks import refuse_unsafe  # noqa: E402 - Django is ready only now

refuse_unsafe()
