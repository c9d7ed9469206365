# Paths and functions that the other scripts source; runs nothing itself.
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cache="${SLUICE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sluice}"
python="$root/.venv/bin/python"
# uv is pinned with its hashes; each pin has its own folder.
uv_home="$cache/uv-$(sha256sum "$root/scripts/uv.txt" | cut -c1-12)"
uv="$uv_home/bin/uv"
# The S3 server, pinned by version and by the hash that the Go checksum database has for it.
gateway_module=github.com/versity/versitygw
gateway_version="$(cat "$root/docker/versitygw/VERSION")"
gateway_hash='h1:au+wI+aybno/STsQiSm35Uu6Q6iK5MWReQxgO6SEMFc='
gateway="$cache/versitygw-$gateway_version"
# htmx, which the pages carry: one file of its npm package, pinned by version and hash.
htmx_version=2.0.11
htmx_sha256=165a2655073e9e6e55e307a7c74e8ebcdb76afb7701f9c16cfd106a13add408e
htmx="$root/gateway/static/vendor/htmx.min.js"
# Distributions often install servers outside a user's PATH.
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/usr/libexec"
# So that every script finds the project's packages from any directory.
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
# Without bytecode files each process would parse all its imports again.
unset PYTHONDONTWRITEBYTECODE

# Say whether --help is among the arguments.
asks_help() {
    case " $* " in *" --help "* | *" -h "*) return 0 ;; *) return 1 ;; esac
}

# Print a script's first comment and exit, if --help is among the arguments.
help_if_asked() {
    ! asks_help "$@" || { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" && exit; }
}

# Show a module's help and exit, if --help is among the arguments; before anything is installed, the script's first comment.
module_help_if_asked() {
    local module=$1
    shift
    ! asks_help "$@" || [ ! -x "$python" ] || exec "$python" -m "$module" --help
    help_if_asked "$@"
}

# Say what is wrong with the script that was started, and end it: fail MESSAGE [CODE]
fail() {
    echo "scripts/${0##*/}: $1" >&2
    exit "${2:-2}"
}

# Print a digest of what an archive is made of: it contains code of this checkout, so it is built again when that changes.
made_of() {
    (cd "$root" && cat trainer/archives/*.py handlers/*.py sluice/errors.py sluice/domain/*.py sluice/images/*.py \
        "model_store/$1.toml" | sha256sum)
}
