"""Settings, routes and processes. May import all other packages."""

import os

# Before numpy is loaded. The matrices of a ranking are small: several threads, in several processes, wait for each other
# many times longer than they compute.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from config.celery import app as celery_app  # noqa: E402

__all__ = ["celery_app"]
