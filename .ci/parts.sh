# What .ci/run is made of, and its clock; sourced by it, and by tests/test_ci.py. SECONDS is bash's own clock.

hour=3600 most=5100 # no part begins after an hour; what still runs when CI's 90 minutes draw to an end is stopped
passed=0 failed=0 left=()

# part KIND COMMAND...: a run of pytest (KIND `tests`) or what passes or fails as a whole (`check`)
part() {
    local kind=$1 began=$SECONDS
    shift
    if ((SECONDS >= hour)); then
        left+=("$*")
        return
    fi
    printf '\n== %s\n' "$*"
    "$kind" "$@"
    printf -- '-- %d s\n' $((SECONDS - began))
}

in_time() {
    local rest=$((most - SECONDS))
    timeout --kill-after=60 --signal=INT $((rest > 0 ? rest : 1)) "$@" # 0 would be for ever
}

count() { # count WORD: the number before WORD in pytest's summary, the last line of the log
    local number
    number=$(tail -n 1 "$log" | sed -nE "s/(^|.* )([0-9]+) $1.*/\2/p")
    echo "${number:-0}"
}

tests() {
    local status=0 bad
    in_time "$@" 2>&1 | tee "$log" || status=$?
    case $status in
    75) left+=("$* ($(tail -n 1 "$log"))") && return ;; # it says why it cannot run here
    124 | 137) left+=("the rest of $*") && status=0 ;;
    esac
    bad=$(($(count failed) + $(count error)))
    passed=$((passed + $(count passed)))
    [ "$status" = 0 ] || [ "$bad" != 0 ] || bad=1 # it stopped before its summary
    failed=$((failed + bad))
}

check() {
    local status=0
    in_time "$@" || status=$?
    case $status in
    0) passed=$((passed + 1)) ;;
    124 | 137) left+=("$*") ;;
    *) failed=$((failed + 1)) ;;
    esac
}

# The last lines: what was left out, if anything was, in one; and the totals.
total() {
    local IFS=';'
    ((${#left[@]} == 0)) || printf '\nleft out, after %d minutes: %s\n' $((SECONDS / 60)) "${left[*]}"
    printf '\n%s passed, %s failed\n' "$passed" "$failed"
    ((failed == 0))
}
