//! TensorFlow's own log, which goes to stderr past ours.

/// The variable by which TensorFlow decides what it logs; read once, at its first message.
const LEVEL: &str = "TF_CPP_MIN_LOG_LEVEL";

/// Keeps TensorFlow's information and warnings off stderr; its errors stay. Yields whether it did.
///
/// Call it first in `main`: it works by an environment variable, which can only be set safely while
/// the process has one thread. It does nothing where more run already, or where
/// `TF_CPP_MIN_LOG_LEVEL` is set (0 shows everything, 3 nothing).
pub fn quiet_native_log() -> bool {
    if std::env::var_os(LEVEL).is_some() || !only_thread() {
        return false;
    }
    // SAFETY: setting a variable is unsound only while another thread reads or writes the
    // environment. There is none, and none can appear while the only one is here.
    unsafe { std::env::set_var(LEVEL, "2") };
    true
}

/// Whether this process has no other thread; where the system does not say, the answer is no.
fn only_thread() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1)
}
