#!/usr/bin/env bash
# Makes the virtual environment $VENV on the interpreter $PYTHON and installs lamplan with everything that demo and tests need.
# A torch >= 2.9 that is already there (in $VENV, or in $PYTHON itself) is kept, so a CUDA build of one's own stays in use.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
venv=${VENV:-.venv}
torch=torch==2.13.0

say() { printf 'setup: %s\n' "$*" >&2; }
runs() { "$1" -c "$2" >/dev/null 2>&1; }
has_torch() { runs "$1" 'import torch; assert tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 9)'; }
loads() { runs "$python" "import ctypes; ctypes.CDLL('$1')"; }

command -v "$python" >/dev/null || { say "no interpreter '$python': install Python 3.11 or newer, or give one with PYTHON=..."; exit 1; }
runs "$python" 'import sys; assert sys.version_info >= (3, 11)' ||
  { say "'$python' is $("$python" --version 2>&1), but Python 3.11 or newer is needed: give one with PYTHON=..."; exit 1; }

# System libraries, by what is missing. `build`: without it the installation fails. `show`: without it only rendering does.
build=() show=()
runs "$python" 'import ensurepip' || [ -x "$venv/bin/python" ] || build+=(python3-venv)
# robosuite asks for pynput, whose part evdev is compiled on the spot.
if ! runs "$venv/bin/python" 'import evdev'; then
  command -v cc >/dev/null && [ -e /usr/include/linux/input.h ] || build+=(gcc libc6-dev)
  runs "$python" 'import os, sysconfig; assert os.path.exists(sysconfig.get_path("include") + "/Python.h")' || build+=(python3-dev)
fi
loads libGL.so.1 || show+=(libgl1)
loads libgthread-2.0.so.0 || show+=(libglib2.0-0)
loads libEGL.so.1 || show+=(libegl1)
loads libEGL_nvidia.so.0 || [ -n "$(compgen -G '/usr/lib*/dri/swrast_dri.so' || compgen -G '/usr/lib*/*/dri/swrast_dri.so')" ] || show+=(libgl1-mesa-dri)

if [ $((${#build[@]} + ${#show[@]})) -gt 0 ]; then
  missing="${build[*]} ${show[*]}"
  install="apt-get install -y --no-install-recommends ${missing# }"
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "installing the missing system libraries: ${missing# }"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq && $install -qq >/dev/null && build=() show=() || say "apt could not install them (see above)."
  fi
fi
if [ $((${#build[@]} + ${#show[@]})) -gt 0 ]; then
  say "system libraries are missing. On Debian or Ubuntu this one line installs them:"
  say "  sudo apt-get update && sudo $install"
  [ ${#build[@]} -eq 0 ] || { say "without ${build[*]} the installation cannot go on; run that line, then this command again."; exit 1; }
  say "going on: all but the rendering of simulated worlds works without them."
fi

if [ ! -x "$venv/bin/python" ]; then
  shared=()
  # A virtual environment hands nothing on to another one; to use its torch, give it as VENV.
  if runs "$python" 'import sys; assert sys.prefix == sys.base_prefix' && has_torch "$python"; then
    shared=(--system-site-packages)
    say "using the torch that '$python' brings."
  fi
  "$python" -m venv "${shared[@]}" "$venv"
fi
pip() { "$venv/bin/python" -m pip --disable-pip-version-check install "$@"; }
has_torch "$venv/bin/python" || pip "$torch"
pip --editable '.[sim,logs,dev]'
say "ready: $venv/bin/python with $("$venv/bin/python" -c 'import torch; print("torch", torch.__version__)')."
