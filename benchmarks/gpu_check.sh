#!/usr/bin/env bash
# One call that proves and measures the cupy backend on a GPU, within a budget of seconds:
#
#     bash benchmarks/gpu_check.sh 540              # everything; .gpu/ from `make gpu-pack` beside the checkout
#     bash benchmarks/gpu_check.sh 200 autotune     # part 11 alone: torch.compile(mode="max-autotune")
#     bash benchmarks/gpu_check.sh 200 speed table  # parts by name
#     bash benchmarks/gpu_check.sh --dry            # a rehearsal over the stand-in, where no GPU is
#
# Each part has a time limit of its own. One that fails, hangs or is out of time never stops the rest; each figure is on the
# disk before the next is measured. Results: $OUT (default out/gpu): results.jsonl, table.md, junit.xml, sanitizer.txt,
# ncu.txt, clocks.txt, inductor_cache.bin. PYTHON names the interpreter (default: python3,
# .venv or .venv-gpu, the first that has what is needed). Ends with 0 if nothing was wrong.
set -u
SECONDS=0
cd "$(dirname "$0")/.." || exit 2

usage() { sed -n '2,14s/^# \{0,1\}//p' "$0"; }
dry=
budget=540
only=()
case "${1:-}" in
    -h | --help) usage; exit 0 ;;
    --dry) dry=--dry; shift ;;
    '') ;;
    *[!0-9]*) echo "gpu_check.sh: the budget must be a whole number of seconds, got '$1'" >&2; usage >&2; exit 2 ;;
    *) budget=$1; shift ;;
esac
PARTS="environment smoke builds ceilings golden speed torch-eager torch-compile sanitizer tests counters autotune table"
for name in "$@"; do
    case " $PARTS " in
        *" $name "*) only+=("$name") ;;
        *) echo "gpu_check.sh: no part is called '$name'; known: $PARTS" >&2; exit 2 ;;
    esac
done

# The first interpreter that has these modules.
having() {
    local python
    for python in python3 .venv/bin/python .venv-gpu/bin/python; do
        "$python" -c "import $1" 2>/dev/null && { echo "$python"; return 0; }
    done
    return 1
}
needs="numpy, PIL$([ -n "$dry" ] || echo ', cupy')"
if [ -z "${PYTHON:-}" ]; then
    PYTHON=$(having "$needs, pytest") || PYTHON=$(having "$needs") || {
        echo "gpu_check.sh: neither python3 nor an environment of this checkout has $needs." \
            "Run make test first, or say PYTHON=/path/to/python" >&2
        [ -n "$dry" ] && exit 2
        PYTHON=python3 # the parts say what is missing, and those in PyTorch may run
    }
fi
export OUT=${OUT:-$PWD/out/gpu}
mkdir -p "$OUT" || exit 2
OUT=$(cd "$OUT" && pwd)
export PYTHONUNBUFFERED=1
# One seed for all processes of the tests, so that a failure can be repeated; the environment part writes it down.
export KIGRAPH_TEST_SEED=${KIGRAPH_TEST_SEED:-$RANDOM}
if [ -d .gpu ] && [ -z "$dry" ]; then
    export KIGRAPH_CACHE_DIR=${KIGRAPH_CACHE_DIR:-$PWD/.gpu/cache}
    # Compiled kernels that others own or may write are not used; a copy from another machine may have such modes.
    chmod -R go-w .gpu/cache 2>/dev/null
    [ "$(id -u)" != 0 ] || chown -R 0 .gpu/cache 2>/dev/null
    [ -d .gpu/shared ] && export KIGRAPH_SHARED=${KIGRAPH_SHARED:-$PWD/.gpu/shared}
fi
# What is measured is said by arguments alone.
unset KIGRAPH_BACKEND KIGRAPH_PRECISION KIGRAPH_CUPY_PRECISION KIGRAPH_CUPY_SYNC
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}

scratch=$(mktemp -d) || exit 2
background=()
finish() {
    [ ${#background[@]} -gt 0 ] && kill "${background[@]}" 2>/dev/null
    rm -rf "$scratch"
}
trap finish EXIT
trap 'exit 130' INT TERM

# Wheels for this interpreter that the machine lacks.
if [ -z "$dry" ] && ls .gpu/whl/*.whl >/dev/null 2>&1 && ! "$PYTHON" -c 'import simplejpeg' 2>/dev/null; then
    "$PYTHON" -m pip install --quiet --no-index --no-deps --no-compile --target "$scratch/site" .gpu/whl/*.whl &&
        export PYTHONPATH=$PYTHONPATH:$scratch/site
fi
if [ -z "$dry" ] && command -v nvidia-smi >/dev/null; then
    nvidia-smi dmon -s pc -d 1 >"$OUT/clocks.txt" 2>&1 &
    background+=($!)
fi
if [ -z "$dry" ]; then # gigabytes of libraries, which part 3 would otherwise wait for on a cold disk
    nice "$PYTHON" -c 'import torch' >/dev/null 2>&1 &
    background+=($!)
fi

# Parts by name add to what is there.
[ ${#only[@]} -eq 0 ] && rm -f "$OUT"/{results.jsonl,sanitizer.txt,ncu.txt,table.md,junit.xml}
wrong=0
ended() { # name status seconds limit [why it did not run]
    printf '{"part": "%s", "figure": "part", "value": %s, "unit": "s", "status": %s, "seconds": %s, "limit": %s%s%s}\n' \
        "$1" "$3" "$2" "$3" "$4" "${5:+, \"skipped\": \"$5\"}" "${dry:+, \"dry\": true}" >>"$OUT/results.jsonl"
}
wanted() { # name
    { [ ${#only[@]} -eq 0 ] || [ "$1" = table ]; } && return 0
    local name
    for name in ${only[@]+"${only[@]}"}; do [ "$name" = "$1" ] && return 0; done
    return 1
}
# A part: its name, limit in seconds, seconds that it needs at least, and the command.
part() {
    local name=$1 limit=$2 least=$3 left start status
    shift 3
    wanted "$name" || return 0
    left=$((budget - SECONDS))
    if [ -z "$dry" ] && [ "$name" != table ]; then
        [ "$left" -lt "$least" ] && { ended "$name" 0 0 "$limit" "$left s are left, $least are needed"; return 0; }
        [ "$limit" -gt "$left" ] && limit=$left
    fi
    printf '\n=== %s (limit %d s, %d s of %d used)\n' "$name" "$limit" "$SECONDS" "$budget"
    start=$SECONDS
    # To the end of the limit SIGTERM, 5 s later SIGKILL: a part that notices may write what it has.
    timeout -k 5 "$limit" "$@" </dev/null
    status=$?
    ended "$name" "$status" $((SECONDS - start)) "$limit"
    [ "$status" -eq 0 ] || wrong=1
    return "$status"
}
run() { # name limit least module arguments...
    local name=$1 limit=$2 least=$3 module=$4
    shift 4
    part "$name" "$limit" "$least" "$PYTHON" -m "benchmarks.gpu.$module" "$@" $dry
}

run environment 15 5 environment
CUDA_LAUNCH_BLOCKING=1 run smoke 40 10 smoke
[ $? -ne 0 ] && smoke_failed=1 || smoke_failed=
# A fault at first contact: the sanitizer says where, before time is spent on anything else.
[ -n "$smoke_failed" ] && run sanitizer 100 20 sanitize
run builds 40 10 builds
run ceilings 40 8 ceilings
run golden 60 15 golden
run speed 110 30 speed
run torch-eager 45 15 torch_eager
run torch-compile 60 30 torch_compile --batch 128
[ -z "$dry" ] && run torch-compile 60 30 torch_compile --batch 1
[ -z "$smoke_failed" ] && run sanitizer 100 20 sanitize
run tests 75 20 suite --seconds 70
run counters 35 10 counters
[ -z "$dry" ] && run torch-compile 60 40 torch_compile --batch 128 --precision tf32
run autotune 290 60 torch_compile --batch 128 --mode max-autotune
run table 20 0 table
[ -n "$dry" ] && echo "A rehearsal: nothing of this was measured on a GPU."
printf 'results: %s (%d s)\n' "$OUT" "$SECONDS"
exit $wrong
