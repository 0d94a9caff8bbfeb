#!/usr/bin/env bash
# The main job from data to report, as a user does it. Real fundus photographs where SCANTLING_DATA has them.
set -euo pipefail
cd "$(dirname "$0")/.."
here=${DEMO_FOLDER:-demo}
data=${SCANTLING_DATA:-../shared/data}
export SCANTLING_CACHE=${SCANTLING_CACHE:-$PWD/$here/cache}
started=$(date +%s)
rm -rf "$here/run" "$here/predictions"
mkdir -p "$here"

run() { printf '\n$ %s\n' "$*"; "$@"; }

if [ -f "$data/idrid_grading/labels.csv" ]; then
  echo "demo on real fundus photographs: IDRiD-455@512 (IDRiD, CC BY 4.0) in $data/idrid_grading"
  run scantling data import --layout csv "$data/idrid_grading/labels.csv" \
    --image image --label dr_grade --split split --target grade:5 -o "$here/retina.csv"
  new=$data/idrid_grading/images
  table=$here/retina.csv
else
  echo "demo on phantoms (drawn images): $data/idrid_grading is not there; set SCANTLING_DATA for real photographs"
  rm -rf "$here/phantoms"
  run scantling data phantom fundus --n 600 --sites 3 --size 256 -o "$here/phantoms"
  table=$here/phantoms/manifest.csv
fi

run scantling data check "$table" || echo "(the check found errors that a study would have to settle; the demo goes on)"

# Published weights are a download of 100 MB; here the network sees drawn fundus photographs first, then the few real ones.
small=(--task.adapter.backbone test_resnet --data.image_size 128 --trainer.precision bf16-mixed --trainer.channels_last true)
weights=none
if [ -n "${new:-}" ]; then
  rm -rf "$here/phantoms" "$here/pretrained"
  run scantling data phantom fundus --n 2000 --sites 4 --size 128 --prior balanced --degraded 0.2 --workers 2 -o "$here/phantoms"
  run scantling train dr_grading --data "$here/phantoms/manifest.csv" --out "$here/pretrained" \
    --task.adapter.weights none "${small[@]}" --task.optimizer.lr 0.02 --data.batch_size 32 --trainer.max_epochs 16
  weights=$here/pretrained
fi
run scantling train dr_grading --data "$table" --out "$here/run" \
  --task.adapter.weights "$weights" "${small[@]}" --task.optimizer.lr 0.01 --trainer.max_epochs 25

run scantling evaluate "$here/run" --data "$table" --split test

mkdir -p "$here/new_images"
rm -f "$here/new_images"/*
if [ -n "${new:-}" ]; then
  find "$new" -name '*test*.jpg' | sort | sed -n '1,8p' | while read -r file; do cp "$file" "$here/new_images/"; done
else
  find "$here/phantoms/images" -name '*.jpg' | sort | sed -n '1,8p' | while read -r file; do cp "$file" "$here/new_images/"; done
fi
run scantling predict "$here/run" "$here/new_images" -o "$here/predictions"

printf '\n%s\n' "demo done in $(($(date +%s) - started)) s"
python - "$here" <<'PY'
import json, pathlib, sys

here = pathlib.Path(sys.argv[1])
figure = json.loads((here / "run" / "evaluation_test.json").read_text())["metrics"]["quadratic_weighted_kappa"]
print(f"quadratic weighted kappa {figure['value']:.3f} (95 % interval {figure['low']:.3f} to {figure['high']:.3f})")
print(f"report: {(here / 'run' / 'report.html').resolve()}")
PY
