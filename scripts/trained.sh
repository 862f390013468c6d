# Models that are trained once for the same training code and the same windows; sourced.

# trained KIND NAME WINDOWS [OPTION...]: prints the folder of the model, trained now if it is not
# there; says so on standard error. OPTIONs go to the trainer.
trained() {
    local kind=$1 name=$2 windows=$3
    shift 3
    local digest folder
    digest=$({
        cat models/training/requirements.txt models/training/tideflow_training/*.py "$windows"
        echo "$kind $name $*"
    } | sha256sum | cut -c 1-12)
    folder=.tideflow/models/$name-$digest
    if [ ! -f "$folder/manifest.json" ]; then
        echo "train       model \`$name\` (Keras, about 10 s)" >&2
        PYTHONPATH=models/training .tideflow/venv/bin/python -m tideflow_training "$kind" \
            --windows "$windows" --out "$folder" --name "$name" "$@" >&2
    fi
    echo "$folder"
}
