# Where downloads and tools are kept, for all scripts; sourced. Sets TIDEFLOW_CACHE to an absolute
# path, because Maven and cargo take a relative one from elsewhere: it counts from the checkout.
export TIDEFLOW_CACHE=${TIDEFLOW_CACHE:-$HOME/.cache/tideflow}
case $TIDEFLOW_CACHE in
    /*) ;;
    *) TIDEFLOW_CACHE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/$TIDEFLOW_CACHE ;;
esac
