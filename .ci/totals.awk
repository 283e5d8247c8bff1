# Reads what one or more runs of AVA wrote, with a line `=== next run` between them, and prints
# `N passed, N failed` of all, with `, N skipped` when there are any.
# AVA ends with its totals below the last rule, `  123 tests passed`; a run with failures leaves that
# line out, so passes are also counted one by one. -v status=CODE is the exit code: a run that failed
# before or beside the tests (lint, types, coverage, a killed worker) counts as one failure.
function forget() { passed = failed = skipped = 0 }
function settle() {
  allPassed += passed ? passed : ticks
  allFailed += failed ? failed : crosses
  allSkipped += skipped
  forget()
  ticks = crosses = 0
}
/^=== next run$/ { settle() }
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
  settle()
  if (!allFailed && status != 0) allFailed = 1
  printf "%d passed, %d failed%s\n", allPassed, allFailed, allSkipped ? ", " allSkipped " skipped" : ""
  exit allFailed > 0
}
