#!/bin/sh
# Prepares a checkout: packaging/setup.sh [run|dev]   .venv with the app (dev: and its tools), Qt's system libraries
#                      packaging/setup.sh can-show     exit 0 if a window can open here, else says why not
# Called by make. Does nothing, and fast, when nothing has changed.
set -eu
cd "$(dirname "$0")/.."

say() { echo "setup: $*" >&2; }

# --- system packages ---------------------------------------------------------------------------------------------

# What the PySide6 wheels expect of a Linux system, by the file that must be there and by Debian's package for it.
QT_LIBRARIES="libEGL.so.1:libegl1 libGL.so.1:libgl1 libxkbcommon.so.0:libxkbcommon0 libdbus-1.so.3:libdbus-1-3
    libfontconfig.so.1:libfontconfig1 libglib-2.0.so.0:libglib2.0-0 libX11.so.6:libx11-6
    libX11-xcb.so.1:libx11-xcb1 libxkbcommon-x11.so.0:libxkbcommon-x11-0 libxcb-cursor.so.0:libxcb-cursor0
    libxcb-icccm.so.4:libxcb-icccm4 libxcb-image.so.0:libxcb-image0 libxcb-keysyms.so.1:libxcb-keysyms1
    libxcb-randr.so.0:libxcb-randr0 libxcb-render-util.so.0:libxcb-render-util0 libxcb-shape.so.0:libxcb-shape0
    libxcb-xkb.so.1:libxcb-xkb1 libwayland-client.so.0:libwayland-client0 libwayland-cursor.so.0:libwayland-cursor0
    libwayland-egl.so.1:libwayland-egl1"

missing_qt_packages() {
    [ "$(uname -s)" = Linux ] || return 0
    known=$(PATH="$PATH:/sbin:/usr/sbin" ldconfig -p 2>/dev/null) || return 0
    for entry in $QT_LIBRARIES; do
        case $known in *"${entry%%:*} "*) ;; *) printf '%s ' "${entry##*:}" ;; esac
    done
    # Without any font, offscreen windows and screenshots show no text.
    ls /usr/share/fonts/*/* >/dev/null 2>&1 || printf 'fonts-dejavu-core '
}

# Installs Debian packages as far as allowed; returns 1, having said what to type, when it may not or cannot.
apt_install() {
    if ! command -v apt-get >/dev/null; then
        say "this system has no apt-get. Please install what Debian calls: $*"
        return 1
    fi
    if [ "$(id -u)" = 0 ]; then
        as_root=""
    elif sudo -n true 2>/dev/null; then
        as_root="sudo -n"
    else
        say "system packages are missing. Please run: sudo apt-get update && sudo apt-get install -y $*"
        return 1
    fi
    say "installing system packages: $*"
    install="$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $*"
    # The package lists of a fresh machine are empty or old: one more try with fresh ones.
    $install >/dev/null 2>&1 || { $as_root apt-get update -qq >/dev/null && $install >/dev/null; } || {
        say "apt-get failed. Please run: sudo apt-get update && sudo apt-get install -y $*"
        return 1
    }
}

# --- Python and the virtual environment ----------------------------------------------------------------------------

# The newest Python that the libraries support, one with a working venv module first.
find_python() {
    fallback=""
    for name in python3.14 python3.13 python3.12 python3.11 python3 python; do
        "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null || continue
        if "$name" -c 'import venv, ensurepip' 2>/dev/null; then
            echo "$name"
            return
        fi
        [ -n "$fallback" ] || fallback=$name
    done
    if [ -z "$fallback" ]; then
        say "no Python from 3.11 to 3.14 found. Please install one, e.g.: sudo apt-get install -y python3 python3-venv"
        return 1
    fi
    version=$("$fallback" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
    apt_install "$version-venv" || return 1
    echo "$fallback"
}

make_venv() {
    wanted="$1 $(cksum <pyproject.toml)"
    stamp=.venv/.abd-app-setup
    [ -f "$stamp" ] && have=$(cat "$stamp") || have=""
    # An environment with the tools serves for running, too.
    [ "$have" = "$wanted" ] || [ "$have" = "dev ${wanted#* }" ] && return
    # Asking for less than an environment already has must not make it forget the tools.
    case $have in dev*) wanted="dev ${wanted#* }" ;; esac
    if ! .venv/bin/python -c 'import pip' 2>/dev/null; then
        python=$(find_python)
        say "making .venv with $("$python" --version)"
        "$python" -m venv --clear .venv
    fi
    say "installing the app and its libraries into .venv (6 to 7 GB, once)"
    case $wanted in dev*) what='.[dev]' ;; *) what='.' ;; esac
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -e "$what"
    echo "$wanted" >"$stamp"
}

# --------------------------------------------------------------------------------------------------------------------

case ${1:-run} in
run | dev)
    packages=$(missing_qt_packages)
    # shellcheck disable=SC2086 # one word per package
    [ -z "$packages" ] || apt_install $packages || say "going on without a window."
    make_venv "${1:-run}"
    ;;
can-show)
    [ "$(uname -s)" = Linux ] || exit 0
    if [ -z "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ]; then
        echo "No display here (neither DISPLAY nor WAYLAND_DISPLAY is set)."
        exit 1
    fi
    if [ -n "$(missing_qt_packages)" ]; then
        echo "System libraries of the window are missing: $(missing_qt_packages)"
        exit 1
    fi
    ;;
*)
    say "usage: packaging/setup.sh [run|dev|can-show]"
    exit 2
    ;;
esac
