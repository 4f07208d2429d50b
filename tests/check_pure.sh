#!/usr/bin/env bash
# check_pure.sh OBJECT-OR-ARCHIVE... - the pure libraries reach for nothing outside themselves.
#
# Everything that the named objects use and do not define must be on the list below: memory, bytes,
# arithmetic, what compilers and sanitizers add. A clock, socket, file, thread, random number or log
# line is a symbol that is not on it, and fails.
set -euo pipefail
[ $# -gt 0 ] || { echo "usage: $0 OBJECT-OR-ARCHIVE..." >&2; exit 64; }

allowed='malloc|calloc|realloc|reallocarray|aligned_alloc|free|mem(cpy|cmp|set|move|chr|rchr|mem)'
allowed+='|str(len|nlen|cmp|ncmp|chr|rchr|spn|cspn)|qsort|bsearch|v?snprintf|abs|labs|llabs'
allowed+='|__(memcpy|memset|memmove|strcpy|v?snprintf)_chk|__assert_fail|__stack_chk_fail'
allowed+='|__(asan|ubsan|tsan|sanitizer|gcov)_.*|_GLOBAL_OFFSET_TABLE_|__tls_get_addr'
allowed+='|__popcount.*|__u?(mul|div|mod)[a-z]*[0-9]|__isoc23_.*'
allowed+='|msgpack_(pack|sbuffer|version|zone)_?.*|XXH.*|crc32(_z)?|adler32|jsmn_.*'

# "archive:object: U symbol" and "... T symbol": one line each, with its object's name.
symbols() {
    nm -A "$@" | sed -E 's/^(.*):[ 0-9a-f]+ ([A-Za-z]) (.*)$/\2 \3 \1/'
}

table=$(symbols "$@")
outside=$(awk '{ if ($1 ~ /[Uwv]/) used[$2] = used[$2] " " $3; else defined[$2] = 1 }
    END { for (name in used) if (!(name in defined)) print name ":" used[name] }' <<<"$table" |
    grep -vE "^($allowed):" | LC_ALL=C sort || true)
if [ -n "$outside" ]; then
    echo "not pure; these come from outside:"
    sed 's/^/  /' <<<"$outside"
    exit 1
fi
echo "pure: $(awk '$1 ~ /[Tt]/' <<<"$table" | wc -l) functions in $# files"
