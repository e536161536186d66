#!/bin/sh
# Runs a fuzz target for some seconds on one thread: run.sh TARGET SECONDS.
set -eu
cd "$(dirname "$0")"
target=$1
RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1" \
    cargo +nightly build --release --bin "$target" --target x86_64-unknown-linux-gnu
mkdir -p "corpus/$target" "artifacts/$target"
# 3 GiB of address space in all.
ulimit -v 3145728
RAYON_NUM_THREADS=1 nice -n 15 "target/x86_64-unknown-linux-gnu/release/$target" "corpus/$target" \
    -max_total_time="$2" -rss_limit_mb=2048 -timeout=20 -max_len=20000 -artifact_prefix="artifacts/$target/" -print_final_stats=1
