#!/usr/bin/env bash
# The view-based papers' protocol on Real3D-AD: 6 systems × 3 training categories × 3 seeds.
#
#   runs/three_real3d_ad.sh REAL3D_AD [OUT [OPTION...]]
#
# REAL3D_AD: the folder of the data set.
# OUT: where cells and tables go (runs/out/three_real3d_ad).
# OPTION: of `zeroflaw benchmark`, such as --devices cuda:0,cuda:1 or --cell 'pointad/*' or --drop weights.
# It needs the frozen weights: `zeroflaw weights fetch clip-vit-l-336` and `… fetch pointnet2-s3dis`,
# for BTP `… fetch ulip2-pointbert` and `… fetch clip-bigg`. Trained weights take up to 2 GB per cell.
# Run it again to go on where it stopped, or with --table to see what is there.
set -euo pipefail
usage='usage: runs/three_real3d_ad.sh REAL3D_AD [OUT [OPTION...]]'
real3d_ad=${1:?$usage}
here=$(dirname "$0")
out=${2:-$here/out/three_real3d_ad}
python=${PYTHON:-$here/../.venv/bin/python}
"$python" -c 'import zeroflaw' || { echo "three_real3d_ad.sh: install zeroflaw first, with scripts/demo" >&2; exit 2; }

"$python" -m zeroflaw benchmark three_real3d_ad --root real3d_ad="$real3d_ad" \
    --out "$out" "${@:3}"
