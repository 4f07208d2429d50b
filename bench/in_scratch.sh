#!/bin/sh
# in_scratch.sh PROGRAM ARGUMENT... - runs PROGRAM with an empty directory as its first argument.
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
program=$1
shift
"$program" "$directory" "$@"
