#!/usr/bin/env bash
# short.sh DIRECTORY - cuts the power in some 4,000 states: of a store, of a broker, and with something
# taken away that the store relies on. There the oracle must speak. Then each ninth call of the store
# fails. DIRECTORY has the programs.
set -euo pipefail
program=$1/powerloss
"$program" --states 2000
"$program" --states 300 --life broker
"$program" --states 300 --life broker --seed 2 --sync interval:50ms
echo "what loses:"
"$program" --states 300 --seed 101 --sync never --expect-loss
"$program" --states 100 --seed 102 --life broker --sync never --expect-loss
for sync in sync dsync names; do
    "$program" --states 300 --seed 103 --ignore "$sync" --expect-loss
done
echo "what fails:"
"$1/powerloss_fail" --each 9 --from "$((RANDOM % 9 + 1))"
