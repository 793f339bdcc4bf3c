#!/usr/bin/env bash
# The view-based papers' protocol on Eyecandies: 6 systems × 3 training categories × 3 seeds.
#
#   runs/three_eyecandies.sh EYECANDIES [OUT [OPTION...]]
#
# EYECANDIES: the folder of the data set.
# OUT: where cells and tables go (runs/out/three_eyecandies).
# OPTION: of `zeroflaw benchmark`, such as --devices cuda:0,cuda:1 or --cell 'pointad/*' or --drop weights.
# It needs the frozen weights: `zeroflaw weights fetch clip-vit-l-336` and `… fetch pointnet2-s3dis`,
# for BTP `… fetch ulip2-pointbert` and `… fetch clip-bigg`. Trained weights take up to 2 GB per cell.
# Run it again to go on where it stopped, or with --table to see what is there.
set -euo pipefail
usage='usage: runs/three_eyecandies.sh EYECANDIES [OUT [OPTION...]]'
eyecandies=${1:?$usage}
here=$(dirname "$0")
out=${2:-$here/out/three_eyecandies}
python=${PYTHON:-$here/../.venv/bin/python}
"$python" -c 'import zeroflaw' || { echo "three_eyecandies.sh: install zeroflaw first, with scripts/demo" >&2; exit 2; }

"$python" -m zeroflaw benchmark three_eyecandies --root eyecandies="$eyecandies" \
    --out "$out" "${@:3}"
