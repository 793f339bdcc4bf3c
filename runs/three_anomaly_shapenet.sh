#!/usr/bin/env bash
# The view-based papers' protocol on Anomaly-ShapeNet: 6 systems × 3 training categories × 3 seeds.
#
#   runs/three_anomaly_shapenet.sh ANOMALY_SHAPENET [OUT [OPTION...]]
#
# ANOMALY_SHAPENET: the folder of the data set.
# OUT: where cells and tables go (runs/out/three_anomaly_shapenet).
# OPTION: of `zeroflaw benchmark`, such as --devices cuda:0,cuda:1 or --cell 'pointad/*' or --drop weights.
# It needs the frozen weights: `zeroflaw weights fetch clip-vit-l-336` and `… fetch pointnet2-s3dis`,
# for BTP `… fetch ulip2-pointbert` and `… fetch clip-bigg`. Trained weights take up to 2 GB per cell.
# Run it again to go on where it stopped, or with --table to see what is there.
set -euo pipefail
usage='usage: runs/three_anomaly_shapenet.sh ANOMALY_SHAPENET [OUT [OPTION...]]'
anomaly_shapenet=${1:?$usage}
here=$(dirname "$0")
out=${2:-$here/out/three_anomaly_shapenet}
python=${PYTHON:-$here/../.venv/bin/python}
"$python" -c 'import zeroflaw' || { echo "three_anomaly_shapenet.sh: install zeroflaw first, with scripts/demo" >&2; exit 2; }

"$python" -m zeroflaw benchmark three_anomaly_shapenet --root anomaly_shapenet="$anomaly_shapenet" \
    --out "$out" "${@:3}"
