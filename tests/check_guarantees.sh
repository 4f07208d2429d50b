#!/usr/bin/env bash
# check_guarantees.sh - every test that docs/guarantees.md names is in the tree, and in the file that
# it names.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")"

missing=0
for name in $(grep '^|' ../docs/guarantees.md | grep -oE '[a-z0-9]+(_[a-z0-9]+){3,}' | sort -u); do
    grep -rqE "\\b(test_)?$name\\b" --include='*.c' --include='*.py' . ../python/tests && continue
    echo "docs/guarantees.md names a test that is not there: $name"
    missing=$((missing + 1))
done
# "test_FILE: NAME, NAME"
while IFS=': ' read -r file names; do
    for name in ${names//,/}; do
        grep -rqE "\\b(test_)?$name\\b" --include="$file.c" --include="$file.py" . ../python/tests && continue
        echo "docs/guarantees.md names a test that is not in $file: $name"
        missing=$((missing + 1))
    done
done < <(grep '^|' ../docs/guarantees.md | grep -oE 'test_\w+: \w+(, \w+)*')
echo "guarantees: $missing tests are missing"
[ "$missing" -eq 0 ]
