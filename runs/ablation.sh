#!/usr/bin/env bash
# What the parts of the compact detector's recipe are worth, at a small budget.
#
#   runs/ablation.sh CORPUS [OUT [OPTION...]]
#
# CORPUS: a folder of packed shapes (.npz). OUT: where scans, states and logs go (runs/out/ablation).
# OPTION: of benchmarks/ablation.py, such as --scans 4096.
# Run it again to go on where it stopped. The table is OUT/ablation.md.
set -euo pipefail
corpus=${1:?usage: runs/ablation.sh CORPUS [OUT [OPTION...]]}
here=$(dirname "$0")
out=${2:-$here/out/ablation}
python=${PYTHON:-$here/../.venv/bin/python}
"$python" -c 'import zeroflaw' || { echo "ablation.sh: install zeroflaw first, with scripts/demo" >&2; exit 2; }
mkdir -p "$out"
"$python" "$here/../benchmarks/ablation.py" "$corpus" --out "$out" --table "$out/ablation.md" "${@:3}"
