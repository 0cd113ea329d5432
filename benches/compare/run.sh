#!/usr/bin/env bash
# All comparisons in one go; prints tables, and keeps them with their JSON in dist/bench/.
set -euo pipefail
cd "$(dirname "$0")"
out=../../dist/bench
mkdir -p "$out"
for bench in crash idle console status install proxy fleet scan; do
  python3 "$bench.py" | tee "$out/$bench.txt"
done
