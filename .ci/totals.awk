# Reads what `npm test` wrote and prints `N passed, N failed`, with `, N skipped` when there are any.
# AVA ends with its totals below the last rule, `  123 tests passed`; a run with failures leaves that
# line out, so passes are also counted one by one. -v status=CODE is the exit code: a run that failed
# before or beside the tests (lint, types, coverage, a killed worker) counts as one failure.
function forget() { passed = failed = skipped = 0 }
/^  ✔ / && !/^  ✔ \[expected fail\]/ { ticks++ }
/^  ✘ \[fail\]: / { crosses++ }
/^  ─$/ { forget() }
/^  [0-9]+ tests? passed$/ { passed = $1 }
/^  [0-9]+ (test|hook)s? failed$/ { failed += $1 }
/^  [0-9]+ uncaught exceptions?$/ { failed += $1 }
/^  [0-9]+ unhandled rejections?$/ { failed += $1 }
/^  [0-9]+ tests? remained pending after a timeout$/ { failed += $1 }
/^  [0-9]+ tests? skipped$/ { skipped = $1 }
END {
  if (!passed) passed = ticks
  if (!failed) failed = crosses
  if (!failed && status != 0) failed = 1
  printf "%d passed, %d failed%s\n", passed, failed, skipped ? ", " skipped " skipped" : ""
  exit failed > 0
}
