# For scripts that do one thing after the other; sourced. Stops at the first that fails, names the
# command, and says how long each took.
set -E

step_name='' step_command='' step_from=0 step_inner=''
# A file that is given what the following steps say; a step that sets variables cannot have one.
step_log=''
trap 'step_inner=${step_inner:-$BASH_COMMAND}' ERR

# step NAME COMMAND...: runs the command under a header.
step() {
    step_name=$1
    shift
    step_command=$* step_from=$SECONDS
    printf '\n== %s\n' "$step_name"
    if [ -n "$step_log" ]; then "$@" 2>&1 | tee -a "$step_log"; else "$@"; fi
    printf '== %s: %d s\n' "$step_name" $((SECONDS - step_from))
    step_command=''
}

# For an EXIT trap: says which command failed, if one did.
step_failed() {
    [ -n "$step_command" ] || return 0
    # A function's step is told by the command in it.
    [ "$(type -t "${step_command%% *}")" = function ] && [ "$step_inner" != '"$@"' ] &&
        step_command=$step_inner
    printf '\n== %s failed after %d s: %s\n' "$step_name" $((SECONDS - step_from)) "$step_command"
} >&2
