#!/usr/bin/env bash
# Debian's Node.js does not run from its binary and the shared libraries that ldd names: whoever copies these into an
# image made from scratch gets a program that aborts before its first line, also for `node --print 1`.
# Debian builds it with some of Node's own modules left outside of the library (cjs-module-lexer, acorn, undici, of the
# packages node-*), to be read from /usr/share/nodejs at every start; ldd knows nothing of them. The library names the files.
#
# Seen with nodejs 18.20.4+dfsg-1~deb12u3 of Debian 12, in a root that has the program and its libraries only:
#   Cannot load externalized builtin: "internal/deps/cjs-module-lexer/lexer:/usr/share/nodejs/cjs-module-lexer/lexer.js".
#   (then a native stack trace; killed by SIGABRT, 134)
# With the files that `grep -ao '/usr/share/nodejs/[^"]*' libnode.so` names beside it, it prints 1.
#
# Needs root (chroot) and the packages of Debian 12. Exits non-zero when Node.js behaves otherwise.
set -euo pipefail

version=18.20.4+dfsg-1~deb12u3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get -qq -o APT::Sandbox::User=root download nodejs="$version" libnode108="$version" node-acorn node-cjs-module-lexer node-undici \
  libuv1 libc-ares2 libnghttp2-14 libicu72 libbrotli1 zlib1g libssl3 libc6 libstdc++6 libgcc-s1
for package in *.deb; do dpkg-deb --extract "$package" all; done

# The program, its loader and its libraries, and nothing else.
libraries=lib/x86_64-linux-gnu
mkdir -p root/usr/bin root/lib64 "root/$libraries"
cp all/usr/bin/node root/usr/bin/
cp -L all/lib64/ld-linux-x86-64.so.2 root/lib64/ 2>/dev/null || cp -L "all/$libraries/ld-linux-x86-64.so.2" root/lib64/
find all/lib/x86_64-linux-gnu all/usr/lib/x86_64-linux-gnu -maxdepth 1 -name '*.so*' -exec cp -L {} "root/$libraries/" \; 2>/dev/null || true

status=0
said=$(chroot root /usr/bin/node --print 1 2>&1) || status=$?
echo "with its libraries alone: exit $status, $(grep -o 'Cannot load.*' <<<"$said")"
[[ $status -eq 134 && $said = *"Cannot load externalized builtin"* ]]

grep -aohE '/usr/share/nodejs/[[:alnum:]@/._-]+\.(js|wasm)' "root/$libraries"/libnode.so.* | sort -u >named
while read -r file; do
  [[ ! -e all$file ]] || install -D "all$file" "root$file"
done <named
said=$(chroot root /usr/bin/node --print 1)
echo "with $(wc -l <named) files more: $said"
[[ $said = 1 ]]
