#!/bin/sh
# check_http.sh - checks a web server. A command for each record; the key is the URL:
#
#   everdue-worker --queue hosts --every 1m --exit-map nagios -- ./check_http.sh {key} [SOON]
#
# 2xx and 3xx are OK, 4xx WARNING, all else CRITICAL: 0, 1 and 2, as a Nagios plugin exits. Each of
# them is a check that worked. What is not OK comes round again after SOON (10s), the rest after the
# record's every. The memo keeps the state and since when it lasts; the note shows both.
set -u
url=$1
soon=${2:-10s}
export LC_ALL=C

if seen=$(curl --silent --show-error --max-time 10 --proto '=http,https' --output /dev/null \
    --write-out '%{http_code} in %{time_total} s' -- "$url" 2>&1); then
    case $seen in
    [23]*) state=OK status=0 ;;
    4*) state=WARNING status=1 ;;
    *) state=CRITICAL status=2 ;;
    esac
else
    seen=${seen#curl: }
    seen=${seen%?000 in *}
    state=CRITICAL status=2
fi

since=$(date -u +%Y-%m-%dT%H:%M:%SZ)
memo=${EVERDUE_TASK_MEMO:-}
case $memo in
"{\"state\":\"$state\","*)
    since=${memo#*'"since":"'}
    since=${since%'"}'} ;;
esac

in=
[ $status -eq 0 ] || in=",\"in\":\"$soon\""
note=$(printf '%s: %s, since %s' "$state" "$seen" "$since" | tr -d '"\\\n')
printf '{"memo":{"state":"%s","since":"%s"},"note":"%s"%s}\n' "$state" "$since" "$note" "$in"
exit $status
