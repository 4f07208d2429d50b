#!/usr/bin/env bash
# short.sh PROGRAM - cuts the power in some 4,000 states, half of them with something taken away that
# the store relies on: there the oracle must speak.
set -euo pipefail
program=$1
"$program" --states 2000
"$program" --states 300 --seed 101 --sync never --expect-loss
for sync in sync dsync names; do
    echo "with each $sync ignored:"
    "$program" --states 300 --seed 102 --ignore "$sync" --expect-loss
done
