"""gunicorn's settings, the same everywhere: gunicorn -c python:config.serve --bind ADDRESS"""

import os

wsgi_app = "config.wsgi"
worker_class = "gthread"  # uploads and video ranges are long: a thread waits for each, not a process
workers = 2
threads = 8
preload_app = True  # imported once, not by each process: half the time to the first page
timeout = 120  # seconds without a sign of life from a process, not the length of a request
graceful_timeout = 10
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - its heartbeat must not wait for a disk
control_socket_disable = True
loglevel = "warning"
accesslog = None  # config.middleware.RequestLog writes one line for each request, without paths or names
