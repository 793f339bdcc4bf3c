#!/usr/bin/env bash
# The view-based papers' protocol with BTP: three training categories of each data set.
#
#   runs/three_categories.sh MVTEC_3D_AD EYECANDIES REAL3D_AD ANOMALY_SHAPENET [OUT [OPTION...]]
#
# MVTEC_3D_AD, EYECANDIES, REAL3D_AD, ANOMALY_SHAPENET: the folders of the data sets.
# OUT: where cells and tables go (runs/out/three_categories).
# OPTION: of `zeroflaw benchmark`, such as --devices cuda:0,cuda:1 or --seeds 111 or --drop scores.
# It needs the frozen weights: `zeroflaw weights fetch ulip2-pointbert` and `… fetch clip-bigg`.
# Run it again to go on where it stopped, or with --table to see what is there.
set -euo pipefail
usage='usage: runs/three_categories.sh MVTEC_3D_AD EYECANDIES REAL3D_AD ANOMALY_SHAPENET [OUT [OPTION...]]'
mvtec_3d_ad=${1:?$usage}
eyecandies=${2:?$usage}
real3d_ad=${3:?$usage}
anomaly_shapenet=${4:?$usage}
here=$(dirname "$0")
out=${5:-$here/out/three_categories}
python=${PYTHON:-$here/../.venv/bin/python}
"$python" -c 'import zeroflaw' || { echo "three_categories.sh: install zeroflaw first, with scripts/demo" >&2; exit 2; }

code=0
run() { # a cell that failed does not keep the other data sets from being worked
    "$python" -m zeroflaw benchmark "$@" || { code=$?; [ $code -eq 1 ] || exit $code; }
}

run three_mvtec_3d_ad --root mvtec_3d_ad="$mvtec_3d_ad" \
    --out "$out/mvtec_3d_ad" "${@:6}"
run three_eyecandies --root eyecandies="$eyecandies" \
    --out "$out/eyecandies" "${@:6}"
run three_real3d_ad --root real3d_ad="$real3d_ad" \
    --out "$out/real3d_ad" "${@:6}"
run three_anomaly_shapenet --root anomaly_shapenet="$anomaly_shapenet" \
    --out "$out/anomaly_shapenet" "${@:6}"
exit $code
