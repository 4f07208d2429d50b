#!/usr/bin/env bash
# check_exports.sh FILE... - what others can link against or load into is the public interface only.
#
# Each file is a shared object, or a program that loads plugins. What it defines for others begins
# with everdue_; a name of ours that is as common as json_check would stand in for that of a library
# which a plugin or a program brings along. What linker and sanitizers add is no name of ours.
set -euo pipefail
[ $# -gt 0 ] || { echo "usage: $0 FILE..." >&2; exit 64; }

own='everdue_[a-z_]+'
added='main|_start|_init|_fini|_IO_stdin_used|_?_?data_start|__bss_start|_edata|_end'
added+='|__(asan|ubsan|tsan|sanitizer)_.*'
for file; do
    foreign=$(nm -D --defined-only "$file" | awk '{ print $3 }' | grep -vxE "$own|$added" || true)
    [ -z "$foreign" ] || { printf '%s exports:\n%s\n' "$file" "$foreign"; exit 1; }
done
echo "exports: $# files show the public interface only"
