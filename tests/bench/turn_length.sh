#!/bin/bash
# What a turn costs in a conversation of 10,000 messages, of 1,000 siblings, of
# long texts, beside a short one: see bench_turn_length.c.
# Usage: turn_length.sh BUILDDIR
set -euo pipefail
# shellcheck source=tests/bench/lib.sh
. "$(dirname "$0")/lib.sh"
start_demo
export srcdir=$SRC NATTER_SRCDIR=$SRC NATTERD=$BUILD/natterd \
    MODEL_STANDIN=$BUILD/tests/support/model_standin
"$BUILD/tests/bench/bench_turn_length"
