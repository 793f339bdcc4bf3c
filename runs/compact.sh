#!/usr/bin/env bash
# Trains the compact detector that ships with the package, on synthesised scans of the corpus's shapes.
#
#   runs/compact.sh CORPUS [OUT [OPTION...]]
#
# CORPUS: a folder of packed shapes (.npz). OUT: where state, log and checkpoints go (runs/out/compact).
# OPTION: of `zeroflaw train`, such as --epochs 2.
# Run it again to go on where it stopped. It ends with figures on categories it never saw.
set -euo pipefail
corpus=${1:?usage: runs/compact.sh CORPUS [OUT [OPTION...]]}
here=$(dirname "$0")
out=${2:-$here/out/compact}
python=${PYTHON:-$here/../.venv/bin/python}
"$python" -c 'import zeroflaw' || { echo "compact.sh: install zeroflaw first, with scripts/demo" >&2; exit 2; }

"$python" -m zeroflaw train compact --corpus "$corpus" --out "$out" --card "$here/compact_card.json" "${@:3}"
PYTHONPATH="$here/.." "$python" -m docs.detector_pictures --log "$out/log.csv" --out "$out"
PYTHONPATH="$here/.." "$python" -m benchmarks.compact "$out/benchmark" --corpus "$corpus" \
    --detector "$out/compact.safetensors" --rivals --card "$out/compact.json" --markdown "$out/figures.md"
