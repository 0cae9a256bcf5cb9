#!/bin/sh
# A command that does something for its task, and keeps account of what it did.
set -eu
wget -q -O /dev/null --post-data '{"at": "half"}' "$TASK_CONTROL/progress"
echo "$TASK_ID" >> "/effects/$HOSTNAME"
