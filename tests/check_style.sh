#!/usr/bin/env bash
# check_style.sh - guards the tail: functions over 70 lines, files over 500, examples over 40,
# format, loose ends.
# No allow list. Prints what is wrong, one line each, and fails. Needs clang-format.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

list() {
    find . \( -path ./build -o -path ./.git -o -name __pycache__ \) -prune -o -type f "$@" -print |
        LC_ALL=C sort
}

# From the first line of a function's head to its brace, both in column 1 (Linux braces).
long_functions() {
    awk 'FNR == 1 { head = start = 0 }
        start && /^\}/ {
            if (FNR - head + 1 > 70)
                print FILENAME ":" head ": a function of " FNR - head + 1 " lines (70 at most)"
            head = start = 0
            next
        }
        start { next }
        /^\{/ { start = FNR; if (!head) head = FNR; next }
        /^$/ || /^#/ || /^[ \/]\*/ || /[;}]$/ { head = 0; next }
        !head { head = FNR }' "$@"
}

mapfile -t c_files < <(list -name '*.[ch]')
mapfile -t examples < <(list -path './examples/*.*' ! -name '*.md' ! -name '*.jsonl' ! -name '*.txt')
mapfile -t all_files < <(list \( -name '*.[ch]' -o -name '*.py' -o -name '*.sh' \
    -o -path './scripts/*' -o -path './.ci/*' -o -name CMakeLists.txt \))
[ ${#c_files[@]} -gt 0 ] || { echo "no C files found" >&2; exit 1; }

faults=$(
    long_functions "${c_files[@]}"
    awk 'FNR == 501 { print FILENAME ": more than 500 lines" }' "${all_files[@]}"
    awk 'FNR == 41 { print FILENAME ": an example of more than 40 lines" }' "${examples[@]}"
    grep -nE '\b(TODO|FIXME|XXX)\b' "${c_files[@]}" || true
    clang-format --dry-run "${c_files[@]}" 2>&1 |
        sed -n 's/^\(.*:[0-9]*\):[0-9]*: warning: .*/\1: clang-format would change this/p' | uniq
)
if [ -n "$faults" ]; then
    printf '%s\n' "$faults"
    echo "style: $(wc -l <<<"$faults") faults"
    exit 1
fi
echo "style: ${#all_files[@]} files are clean"
