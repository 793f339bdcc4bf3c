#!/usr/bin/env bash
# The shipped detector on all categories of four data sets that it was not trained on.
#
#   runs/compact_all.sh MVTEC_3D_AD EYECANDIES REAL3D_AD ANOMALY_SHAPENET [OUT [OPTION...]]
#
# MVTEC_3D_AD, EYECANDIES, REAL3D_AD, ANOMALY_SHAPENET: the folders of the data sets.
# OUT: where cells and tables go (runs/out/compact_all).
# OPTION: of `zeroflaw benchmark`, such as --devices cuda:0,cuda:1 or --seeds 111 or --drop scores.
# Run it again to go on where it stopped, or with --table to see what is there.
set -euo pipefail
usage='usage: runs/compact_all.sh MVTEC_3D_AD EYECANDIES REAL3D_AD ANOMALY_SHAPENET [OUT [OPTION...]]'
mvtec_3d_ad=${1:?$usage}
eyecandies=${2:?$usage}
real3d_ad=${3:?$usage}
anomaly_shapenet=${4:?$usage}
here=$(dirname "$0")
out=${5:-$here/out/compact_all}
python=${PYTHON:-$here/../.venv/bin/python}
"$python" -c 'import zeroflaw' || { echo "compact_all.sh: install zeroflaw first, with scripts/demo" >&2; exit 2; }

"$python" -m zeroflaw benchmark compact_all --root mvtec_3d_ad="$mvtec_3d_ad" --root eyecandies="$eyecandies" --root real3d_ad="$real3d_ad" --root anomaly_shapenet="$anomaly_shapenet" \
    --out "$out" "${@:6}"
