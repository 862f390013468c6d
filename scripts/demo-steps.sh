# What both demos need; sourced, in the root of the checkout.

# The program may be built far from the checkout, and does not look for the library in the folder
# that it is run in.
export TENSORFLOW_DIR=${TENSORFLOW_DIR:-$PWD/.tideflow/native/lib}

# Builds the program; sets demo to its path.
build_demo() {
    demo=${CARGO_TARGET_DIR:-target}/release/demo
    [ -x "$demo" ] || echo "build       the program, optimised: three to eight minutes, more on a busy machine"
    cargo build --release --locked --package tideflow-demo
}

# trained KIND NAME WINDOWS [OPTION...]: prints the folder of the model. It is trained once for the
# same training code and the same windows, and says so on standard error. OPTIONs go to the trainer.
trained() {
    local kind=$1 name=$2 windows=$3
    shift 3
    local digest folder
    digest=$({
        cat models/training/requirements.txt models/training/gates.toml \
            models/training/tideflow_training/{,recipes/}*.py "$windows"
        echo "$kind $name $*"
    } | sha256sum | cut -c 1-12)
    folder=.tideflow/models/$name-$digest
    if [ ! -f "$folder/manifest.json" ]; then
        mkdir -p .tideflow/models
        echo "train       model \`$name\` (Keras, about 10 s)" >&2
        PYTHONPATH=models/training .tideflow/venv/bin/python -m tideflow_training "$kind" \
            --windows "$windows" --out "$folder" --name "$name" "$@" >&2
    fi
    echo "$folder"
}

# Leaves out two lines that TensorFlow writes to standard error whatever its log level. Ctrl-C is for
# the demo, not for the filter.
quiet_tensorflow() {
    exec 2> >(
        trap '' INT TERM
        exec grep --line-buffered -v -e '^WARNING: All log messages before absl' \
            -e 'oneDNN custom operations are on' >&2
    )
}
