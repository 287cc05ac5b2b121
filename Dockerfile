# Amparo for web and workers; compose.yaml starts it. Runs as a user without rights, on a read-only root if you like.
FROM python:3.11-slim-bookworm
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
WORKDIR /app

COPY config/setup.sh config/uv.txt config/
RUN source config/setup.sh \
 && apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${SYSTEM_PACKAGES[@]}" \
 && rm -rf /var/lib/apt/lists/*

COPY requirements.txt ./
RUN pip install --no-cache-dir --require-hashes --no-deps -r config/uv.txt \
 && uv pip install --system --no-cache --require-hashes --compile-bytecode -r requirements.txt

COPY . .
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin amparo \
 && install -d -o amparo -g amparo -m 700 /data \
 && AMPARO_DATA=/tmp/build python -m config.prepare translations \
 && python -m compileall -q archive config evidence triage \
 && rm -rf /tmp/build

ENV AMPARO_DATA=/data AMPARO_PRODUCTION=1 PYTHONUNBUFFERED=1
VOLUME /data
USER amparo
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=4 \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
CMD ["gunicorn", "-c", "python:config.serve", "--bind", "0.0.0.0:8000"]
