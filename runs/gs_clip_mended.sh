#!/usr/bin/env bash
# GS-CLIP with and without the faults of its release; 9 variants × 3 training categories × 3 seeds.
#
#   runs/gs_clip_mended.sh REAL3D_AD [OUT [OPTION...]]
#
# REAL3D_AD: the folder of the data set.
# OUT: where cells and tables go (runs/out/gs_clip_mended).
# OPTION: of `zeroflaw benchmark`, such as --devices cuda:0,cuda:1 or --cell 'mended/*' or --drop weights.
# It needs the frozen weights: `zeroflaw weights fetch clip-vit-l-336` and `… fetch pointnet2-s3dis`,
# in the cache. Trained weights take up to 2 GB per cell.
# Run it again to go on where it stopped, or with --table to see what is there.
set -euo pipefail
usage='usage: runs/gs_clip_mended.sh REAL3D_AD [OUT [OPTION...]]'
real3d_ad=${1:?$usage}
here=$(dirname "$0")
out=${2:-$here/out/gs_clip_mended}
python=${PYTHON:-$here/../.venv/bin/python}
"$python" -c 'import zeroflaw' || { echo "gs_clip_mended.sh: install zeroflaw first, with scripts/demo" >&2; exit 2; }

"$python" -m zeroflaw benchmark gs_clip_mended --root real3d_ad="$real3d_ad" \
    --out "$out" "${@:3}"
