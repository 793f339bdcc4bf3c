#!/usr/bin/env bash
# BTP's table 3: all figures on two data sets; 52 training categories × 10 seeds.
#
#   runs/btp_table3.sh REAL3D_AD ANOMALY_SHAPENET [OUT [OPTION...]]
#
# REAL3D_AD, ANOMALY_SHAPENET: the folders of the data sets.
# OUT: where cells and tables go (runs/out/btp_table3).
# OPTION: of `zeroflaw benchmark`, such as --devices cuda:0,cuda:1 or --seeds 111 or --drop scores.
# It needs the frozen weights: `zeroflaw weights fetch ulip2-pointbert` and `… fetch clip-bigg`.
# Run it again to go on where it stopped, or with --table to see what is there.
set -euo pipefail
usage='usage: runs/btp_table3.sh REAL3D_AD ANOMALY_SHAPENET [OUT [OPTION...]]'
real3d_ad=${1:?$usage}
anomaly_shapenet=${2:?$usage}
here=$(dirname "$0")
out=${3:-$here/out/btp_table3}
python=${PYTHON:-$here/../.venv/bin/python}
"$python" -c 'import zeroflaw' || { echo "btp_table3.sh: install zeroflaw first, with scripts/demo" >&2; exit 2; }

"$python" -m zeroflaw benchmark btp_table3 --root real3d_ad="$real3d_ad" --root anomaly_shapenet="$anomaly_shapenet" \
    --out "$out" "${@:4}"
