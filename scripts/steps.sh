# For scripts that do one thing after the other; sourced. Stops at the first that fails, names it,
# and says how long each took.

step_name= step_command= step_from=

# step NAME COMMAND...: runs the command under a header.
step() {
    step_name=$1
    shift
    step_command=$* step_from=$SECONDS
    printf '\n== %s\n' "$step_name"
    "$@"
    printf '== %s: %d s\n' "$step_name" $((SECONDS - step_from))
    step_command=
}

# For an EXIT trap: says which step failed, if one did.
step_failed() {
    [ -n "$step_command" ] || return 0
    printf '\n== %s failed after %d s: %s\n' "$step_name" $((SECONDS - step_from)) "$step_command"
} >&2
