# A private PostgreSQL and a private Redis for one run of the tests, on free ports of this machine alone. Sourced by
# ./test. start_servers exports TEST_POSTGRES_URL and TEST_REDIS_URL; stop_servers ends both and removes their folder.
# `start_servers on` lets PostgreSQL wait for the disk, as benchmarks must.

servers= postgres_bin= as_postgres=()

start_servers() {
  local candidates=(/usr/lib/postgresql/*/bin) password ports
  postgres_bin=${candidates[-1]}
  [[ -x $postgres_bin/initdb ]] && command -v redis-server >/dev/null || return 1
  servers=$(mktemp -d /tmp/amparo-servers-XXXXXX)
  password=$(python3 -c 'import secrets; print(secrets.token_hex(16))')
  ports=($(python3 - <<'PY'
import socket
taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(s.getsockname()[1] for s in taken))
PY
  ))
  (umask 077 && printf '%s' "$password" >"$servers/password")
  if ((EUID == 0)); then  # PostgreSQL refuses to run as root
    as_postgres=(runuser -u postgres --)
    chown -R postgres: "$servers"
  fi
  "${as_postgres[@]}" "$postgres_bin/initdb" -D "$servers/data" -U amparo -A scram-sha-256 --pwfile "$servers/password" \
    --no-sync -E UTF8 --locale=C.UTF-8 >"$servers/initdb.log" &&
    "${as_postgres[@]}" "$postgres_bin/pg_ctl" start -s -w -D "$servers/data" -l "$servers/data/log" -o "-p ${ports[0]} \
      -k $servers -c listen_addresses=127.0.0.1 -c fsync=${1:-off} -c full_page_writes=${1:-off} -c max_connections=200" &&
    redis-server - >/dev/null <<CONF || return 1
port ${ports[1]}
bind 127.0.0.1
requirepass $password
save ""
dir $servers
daemonize yes
pidfile $servers/redis.pid
logfile $servers/redis.log
CONF
  export TEST_POSTGRES_URL="postgres://amparo:$password@127.0.0.1:${ports[0]}/postgres"
  export TEST_REDIS_URL="redis://:$password@127.0.0.1:${ports[1]}/0"
}

stop_servers() {
  [[ -n $servers ]] || return 0
  [[ ! -s $servers/redis.pid ]] || kill "$(<"$servers/redis.pid")" || true
  [[ ! -e $servers/data/postmaster.pid ]] || "${as_postgres[@]}" "$postgres_bin/pg_ctl" stop -s -D "$servers/data" -m immediate || true
  rm -rf "$servers"
}
