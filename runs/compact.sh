#!/usr/bin/env bash
# Trains the compact detector that ships with the package, on synthesised scans of the corpus's shapes.
#
#   runs/compact.sh CORPUS [OUT]
#
# CORPUS: a folder of packed shapes (.npz). OUT: where state, log and checkpoints go (runs/out/compact).
# Run it again to go on where it stopped. It ends with figures on categories it never saw.
set -euo pipefail
corpus=${1:?usage: runs/compact.sh CORPUS [OUT]}
out=${2:-$(dirname "$0")/out/compact}
python=${PYTHON:-$(dirname "$0")/../.venv/bin/python}

here=$(dirname "$0")
"$python" -m zeroflaw train compact --corpus "$corpus" --out "$out" --card "$here/compact_card.json"
"$python" "$here/../benchmarks/compact.py" "$corpus" --detector "$out/compact.safetensors" \
    --card "$out/compact.json" --out "$out/figures.md"
