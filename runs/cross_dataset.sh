#!/usr/bin/env bash
# Trained on MVTec 3D-AD, tested on Eyecandies and Real3D-AD: 4 systems × 3 training categories × 3 seeds.
#
#   runs/cross_dataset.sh MVTEC_3D_AD EYECANDIES REAL3D_AD [OUT [OPTION...]]
#
# MVTEC_3D_AD, EYECANDIES, REAL3D_AD: the folders of the data sets.
# OUT: where cells and tables go (runs/out/cross_dataset).
# OPTION: of `zeroflaw benchmark`, such as --devices cuda:0,cuda:1 or --cell 'pointad/*' or --drop weights.
# It needs the frozen weights: `zeroflaw weights fetch clip-vit-l-336` and `… fetch pointnet2-s3dis`,
# for BTP `… fetch ulip2-pointbert` and `… fetch clip-bigg`. Trained weights take up to 2 GB per cell.
# Run it again to go on where it stopped, or with --table to see what is there.
set -euo pipefail
usage='usage: runs/cross_dataset.sh MVTEC_3D_AD EYECANDIES REAL3D_AD [OUT [OPTION...]]'
mvtec_3d_ad=${1:?$usage}
eyecandies=${2:?$usage}
real3d_ad=${3:?$usage}
here=$(dirname "$0")
out=${4:-$here/out/cross_dataset}
python=${PYTHON:-$here/../.venv/bin/python}
"$python" -c 'import zeroflaw' || { echo "cross_dataset.sh: install zeroflaw first, with scripts/demo" >&2; exit 2; }

"$python" -m zeroflaw benchmark cross_dataset --root mvtec_3d_ad="$mvtec_3d_ad" --root eyecandies="$eyecandies" --root real3d_ad="$real3d_ad" \
    --out "$out" "${@:5}"
