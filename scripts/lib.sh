# shellcheck shell=bash disable=SC2034
# lib.sh - what the scripts share: where the repository is, what it needs from Debian, how long its
# parts take. Sourced by bash scripts that lie in scripts/.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build_packages=(cmake ninja-build gcc libc6-dev pkg-config libczmq-dev libzmq3-dev libmsgpack-dev
    liblmdb-dev libinih-dev zlib1g-dev libxxhash-dev libsmartcols-dev libjansson-dev libjsmn-dev)
test_packages=(libcmocka-dev binutils python3 python3-pytest python3-zmq python3-msgpack
    libhiredis-dev libpq-dev systemd util-linux
    clang-format faketime valgrind procps curl libcurl4-openssl-dev iproute2 iptables)
fuzz_packages=(clang-14 libclang-rt-14-dev)
demo_packages=(python3)
bench_packages=(redis-server beanstalkd postgresql util-linux gnuplot-nox)

fail() {
    echo "${0##*/}: $*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# Installs those of the named Debian packages that are missing. When all are there this is one
# dpkg-query. Where there is no apt-get the build itself says what it misses.
need() {
    command -v dpkg-query >/dev/null && command -v apt-get >/dev/null || return 0
    local there package missing='' log
    there=$(dpkg-query -W -f '+${Package} ${db:Status-Status}+' "$@" 2>/dev/null) || true
    for package; do
        [[ $there == *"+$package installed+"* ]] || missing+=" $package"
    done
    [ -n "$missing" ] || return 0
    [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null ||
        fail "missing packages and no sudo; as root: apt-get install$missing"
    echo "installing$missing"
    log=$(mktemp)
    # shellcheck disable=SC2086
    { as_root apt-get update -q && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q \
        -y --no-install-recommends -o DPkg::Lock::Timeout=120 $missing; } >"$log" 2>&1 </dev/null ||
        { tail -20 "$log" >&2; rm -f "$log"; fail "apt-get could not install:$missing"; }
    rm -f "$log"
}

# part NAME COMMAND...: runs a command between two lines, the second with the seconds it took. A
# command that fails ends the script with its status; standard output then ends with its own lines.
part() {
    local name=$1 start=$SECONDS status=0
    shift
    echo "== $name"
    "$@" || status=$?
    if [ $status -ne 0 ]; then
        echo "== $name: failed after $((SECONDS - start)) s" >&2
        exit $status
    fi
    echo "== $name: $((SECONDS - start)) s"
}

# compile PRESET [CMAKE OPTION...]: configures and builds build/PRESET, quietly unless it fails.
compile() {
    local preset=$1 log=$root/build/$1.log
    shift
    mkdir -p "$root/build"
    (cd "$root" && cmake --preset "$preset" "$@" && cmake --build --preset "$preset") \
        >"$log" 2>&1 </dev/null || { cat "$log" >&2; fail "the $preset build failed"; }
}
