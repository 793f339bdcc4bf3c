#!/usr/bin/env bash
# BTP's table 1: Real3D-AD per category; 12 training categories × 10 seeds.
#
#   runs/btp_table1.sh REAL3D_AD [OUT [OPTION...]]
#
# REAL3D_AD: the folder of the data set.
# OUT: where cells and tables go (runs/out/btp_real3d_ad).
# OPTION: of `zeroflaw benchmark`, such as --devices cuda:0,cuda:1 or --seeds 111 or --drop scores.
# It needs the frozen weights: `zeroflaw weights fetch ulip2-pointbert` and `… fetch clip-bigg`.
# Run it again to go on where it stopped, or with --table to see what is there.
set -euo pipefail
usage='usage: runs/btp_table1.sh REAL3D_AD [OUT [OPTION...]]'
real3d_ad=${1:?$usage}
here=$(dirname "$0")
out=${2:-$here/out/btp_real3d_ad}
python=${PYTHON:-$here/../.venv/bin/python}
"$python" -c 'import zeroflaw' || { echo "btp_table1.sh: install zeroflaw first, with scripts/demo" >&2; exit 2; }

"$python" -m zeroflaw benchmark btp_table1 --root real3d_ad="$real3d_ad" \
    --out "$out" "${@:3}"
