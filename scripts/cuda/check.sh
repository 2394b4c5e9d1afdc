#!/usr/bin/env bash
# Checks grouse on a machine with an NVIDIA GPU, which needs neither Go nor, for most
# of it, Python. `make gpu-check` packs it with what it runs into .gpu/; there:
#
#   .gpu/check.sh [OUT]          results in OUT (.gpu/out), a summary at the end
#
# PARTS="suite parity learn speed"  which parts; all unless set
# SHAPES="0.6b 1.7b"                of the speed part; 8b needs about 110 GiB
# PYTHON=python3                    one with torch, for parity and torch's speed
# LIMIT=460                         seconds after which no further part is begun
#
# STEPS=40                         a shorter quickstart, which then need not learn
#
# A part that could not be run is NOT RUN, with the reason, and the exit status is
# not 0. BACKEND=cpu tries the script itself, without a GPU.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/out}
backend=${BACKEND:-cuda}
python=${PYTHON:-python3}
shapes=${SHAPES:-0.6b 1.7b}
parts=${PARTS:-suite parity learn speed}
limit=${LIMIT:-460}
[ "$backend" = cpu ] && shapes=tiny && export GPUCHECK_DEVICE=cpu
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
summary=$out/summary.txt
: >"$summary"
failed=0

note() { # STATE PART DETAIL
  printf '%-8s %-22s %s\n' "$1" "$2" "$3" | tee -a "$summary"
  [ "$1" = OK ] || failed=1
}
part() { # NAME COMMAND...: runs it, with its output in OUT/NAME.log
  local name=$1 began=$SECONDS rc
  shift
  if [ $SECONDS -ge "$limit" ]; then note "NOT RUN" "$name" "$limit s had passed"; return 1; fi
  timeout $((limit + 20 - SECONDS)) "$@" >"$out/$name.log" 2>&1
  rc=$?
  if [ $rc = 0 ]; then note OK "$name" "$((SECONDS - began)) s"; return 0; fi
  note FAILED "$name" "exit $rc after $((SECONDS - began)) s: $(tail -n 1 "$out/$name.log" | cut -c1-200)"
  return 1
}
wants() { [[ " $parts " == *" $1 "* ]]; }

unpack() { # what .gpu holds packed
  for f in grouse gpucheck suite; do
    if [ -f "$here/$f.gz" ]; then gzip -dc "$here/$f.gz" >"$work/$f" || return 1; else cp "$here/$f" "$work/$f" || return 1; fi
    chmod +x "$work/$f"
  done
}
unpack || { note FAILED unpack "see above"; exit 1; }
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv >"$out/nvidia-smi.csv" 2>&1 || true
export GROUSE_HOME=$work/home

# The libraries of torch's own environment, if the machine has no others.
if [ -z "${GROUSE_CUDA_LIBS:-}" ]; then
  GROUSE_CUDA_LIBS=$($python -c 'import glob,os,sysconfig; print(":".join(sorted(glob.glob(os.path.join(sysconfig.get_paths()["purelib"], "nvidia", "*", "lib")))))' 2>/dev/null) && export GROUSE_CUDA_LIBS
fi
part doctor "$work/grouse" doctor
"$work/grouse" doctor --json >"$out/doctor.json" 2>&1
if [ "$backend" = cuda ] && ! grep -q '"usable":true' "$out/doctor.json"; then
  cat "$out/doctor.log"
  note "NOT RUN" "everything else" "the GPU cannot be used: see doctor"
  exit 1
fi

suite() { # what did not run did not pass
  GROUSE_TEST_GPU=1 "$work/suite" -test.v -test.run OnTheGPU -test.timeout 4m >"$out/suite.txt" 2>&1
  local rc=$?
  grep -E '^(---|FAIL|ok|PASS|panic)|--- FAIL' "$out/suite.txt"
  [ $rc = 0 ] && grep -q '^--- PASS: TestTheSuiteOnTheGPU' "$out/suite.txt" && grep -q '^--- PASS: TestTheDriverOnTheGPU' "$out/suite.txt"
}
export -f suite
export work out backend
if wants suite; then # every operation and its gradient, against the processor
  if [ "$backend" = cuda ]; then part suite bash -c 'suite'; else note "NOT RUN" suite "BACKEND=$backend"; fi
fi

torch=$($python -c 'import torch; print(torch.__version__)' 2>/dev/null)
if wants parity; then
  if [ -z "$torch" ]; then note "NOT RUN" parity "$python has no torch (PYTHON=... names another)"; else
    shape=0.6b
    [ "$backend" = cpu ] && shape=tiny
    part parity bash -c "'$work/gpucheck' model $shape '$work/model' && '$work/gpucheck' parity $backend '$work/model' '$work/numbers.safetensors' && '$python' '$here/gpucheck.py' parity '$work/model' '$work/numbers.safetensors'"
    rm -rf "$work/model"
  fi
fi

sha() { sed -n 's/.*"weights_sha256":"\([0-9a-f]*\)".*/\1/p' "$1" | tail -n 1; }
learn() { # the quickstart, twice: undisturbed, and killed twice on the way
  local set=(--set trainer.backend="$backend" --json)
  [ -n "${STEPS:-}" ] && set+=(--set "stages.rl.steps=$STEPS" --set "stages.sft.steps=$STEPS")
  "$work/grouse" run quickstart --name whole "${set[@]}" >"$out/whole.jsonl" || return 1
  for after in 8 6; do
    "$work/grouse" run quickstart --name killed "${set[@]}" >>"$out/killed.jsonl" 2>>"$out/killed.err" &
    local pid=$!
    sleep "$after"
    kill -9 $pid 2>/dev/null || echo "it was done before it could be killed"
    wait $pid 2>/dev/null
  done
  "$work/grouse" resume killed --json >>"$out/killed.jsonl" || return 1
  local a b
  a=$(sha "$out/whole.jsonl") b=$(sha "$out/killed.jsonl")
  echo "undisturbed $a, killed and resumed $b"
  tail -n 1 "$out/whole.jsonl"
  [ -n "$a" ] && [ "$a" = "$b" ] || return 1
  [ -n "${STEPS:-}" ] || tail -n 1 "$out/whole.jsonl" | sed 's/.*"after":{"accuracy":\([0-9.e-]*\).*"before":{"accuracy":\([0-9.e-]*\).*/\1 \2/' |
    awk '{ print "accuracy after " $1 ", before " $2; exit !($1 > $2 && $1 > 0.5) }'
}
export -f learn sha
if wants learn; then part learn bash -c 'learn'; fi

if wants speed; then
  : >"$out/speed.jsonl"
  for shape in $shapes; do
    part "speed-$shape" "$work/gpucheck" speed "$backend" "$shape" && cat "$out/speed-$shape.log" >>"$out/speed.jsonl"
    if [ -z "$torch" ]; then note "NOT RUN" "speed-$shape-torch" "$python has no torch"; else
      part "speed-$shape-torch" "$python" "$here/gpucheck.py" speed "$shape" && grep '^{' "$out/speed-$shape-torch.log" >>"$out/speed.jsonl"
      without=$(grep -s 'NOT RUN' "$out/speed-$shape-torch.log") && note "NOT RUN" "generate-$shape-torch" "$without"
    fi
  done
  sed 's/"seconds":.*//' "$out/speed.jsonl"
  if "$work/gpucheck" mfu "$out/doctor.json" "$out/speed.jsonl" >"$out/mfu.log" 2>&1; then tee -a "$summary" <"$out/mfu.log"; else note FAILED mfu "$(tail -n 1 "$out/mfu.log")"; fi
fi

echo "== $SECONDS s; $out"
cat "$summary"
exit $failed
