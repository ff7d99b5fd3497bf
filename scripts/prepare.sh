# What both commands of the README need of the machine: packages, a Rust toolchain, and how to build for this processor.
# Sourced, not run. Does nothing, and asks no network, where everything is there already.
# shellcheck shell=bash

cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '==> %s\n' "$*" >&2; }

die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    die "root is needed for: $* (run it yourself, then run this again)"
  fi
}

# The Debian packages that are missing, told by what they bring.
missing_packages() {
  command -v cc >/dev/null && command -v c++ >/dev/null && command -v make >/dev/null || echo build-essential
  command -v cmake >/dev/null || echo cmake
  command -v pkg-config >/dev/null || echo pkg-config
  command -v curl >/dev/null || echo curl
  command -v python3 >/dev/null || echo python3
  python3 -m pip --version >/dev/null 2>&1 || echo python3-pip
  [ -e /etc/ssl/certs/ca-certificates.crt ] || echo ca-certificates
}

install_packages() {
  local packages
  packages=$(missing_packages | tr '\n' ' ')
  [ -n "${packages// /}" ] || return 0
  command -v apt-get >/dev/null || die "this is no Debian; install what brings: $packages"
  say "installing $packages"
  export DEBIAN_FRONTEND=noninteractive
  as_root apt-get -qq update
  # shellcheck disable=SC2086 # a list of words
  as_root apt-get -qq -y -o Dpkg::Use-Pty=0 install --no-install-recommends $packages >/dev/null
}

# What some tests need, which say so and pass without it: installed where that asks nobody for a password.
offer_packages() {
  local program missing=()
  for program in "$@"; do
    command -v "$program" >/dev/null || missing+=("$program")
  done
  [ ${#missing[@]} -gt 0 ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 0
  say "installing ${missing[*]}, for tests"
  export DEBIAN_FRONTEND=noninteractive
  { apt-get -qq update && apt-get -qq -y -o Dpkg::Use-Pty=0 install --no-install-recommends "${missing[@]}"; } >/dev/null ||
    say "${missing[*]}: not to be had; the tests that need it will say so"
}

# The version of a `rustc --version` line, and whether it will do.
rust_is_new_enough() {
  local wanted=$1 have
  command -v cargo >/dev/null || return 1
  have=$(rustc --version 2>/dev/null | cut -d' ' -f2 | cut -d- -f1)
  [ -n "$have" ] && [ "$(printf '%s\n%s\n' "$wanted" "$have" | sort -V | head -n1)" = "$wanted" ]
}

install_rust() {
  local wanted
  wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
  [ -n "$wanted" ] || die "Cargo.toml names no rust-version"
  rust_is_new_enough "$wanted" && return 0
  # one that rustup installed earlier, in a shell that does not know it yet
  export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
  rust_is_new_enough "$wanted" && return 0
  say "no Rust $wanted or newer here: installing the stable toolchain with rustup, in ${CARGO_HOME:-$HOME/.cargo}"
  if command -v rustup >/dev/null; then
    rustup toolchain install stable --profile minimal
    export RUSTUP_TOOLCHAIN=stable
  else
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs |
      sh -s -- -y --quiet --no-modify-path --profile minimal --default-toolchain stable
  fi
  rust_is_new_enough "$wanted" || die "still no Rust $wanted or newer: see https://rustup.rs"
}

# Exports the flags for the fastest build that this processor runs: x86-64-v3 where it has AVX2, FMA, BMI2 and F16C.
choose_processor() {
  local flags=" " level=baseline on=OFF feature
  flags=" $(sed -n 's/^flags[^:]*: *//p;/^flags/q' /proc/cpuinfo 2>/dev/null) "
  if [ "$(uname -m)" = x86_64 ]; then
    level=x86-64-v3 on=ON
    for feature in avx2 fma bmi2 f16c; do
      [[ "$flags" == *" $feature "* ]] || { level=baseline on=OFF; }
    done
    # whisper.cpp hands these to its CMake; without GGML_NATIVE=OFF it would build for this very machine
    export GGML_NATIVE=OFF GGML_SSE42=$on GGML_AVX=$on GGML_AVX2=$on GGML_FMA=$on GGML_F16C=$on GGML_BMI2=$on
  fi
  if [ "$level" = x86-64-v3 ]; then
    export RUSTFLAGS="${RUSTFLAGS:-} -C target-cpu=x86-64-v3"
  fi
  say "building for $(uname -m), $level"
}

# Where cargo puts what it builds.
target_dir() {
  echo "${CARGO_TARGET_DIR:-target}"
}
