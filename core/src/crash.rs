//! Points at which a process can be told to kill itself, or a thread of it to wait, for tests of what
//! survives. Behind the feature `crash-points`; without it a point is nothing.

/// Kills this process at once, as SIGKILL does, where the environment says `TIDEFLOW_CRASH_AT=NAME:N` and
/// this is the `N`th time that the process comes by the point `NAME`, over all of its threads. Where it says
/// `TIDEFLOW_STALL_AT=NAME:N:FILE`, the thread waits there until there is such a file.
///
/// # Panics
/// Where the environment says `TIDEFLOW_PANIC_AT=NAME:N`; when a variable is not of its form.
#[cfg(feature = "crash-points")]
pub fn crash_point(name: &str) {
    use std::sync::LazyLock;
    use std::time::Duration;

    static CRASH: LazyLock<Option<Told>> = LazyLock::new(|| Told::by("TIDEFLOW_CRASH_AT"));
    static PANIC: LazyLock<Option<Told>> = LazyLock::new(|| Told::by("TIDEFLOW_PANIC_AT"));
    static STALL: LazyLock<Option<(Told, String)>> = LazyLock::new(|| {
        let told = std::env::var("TIDEFLOW_STALL_AT").ok()?;
        let [name, times, file] = told.splitn(3, ':').collect::<Vec<_>>()[..] else {
            panic!("`TIDEFLOW_STALL_AT` is `NAME:N:FILE`, found `{told}`");
        };
        Some((Told::of(&format!("{name}:{times}")), file.to_string()))
    });

    if CRASH.as_ref().is_some_and(|told| told.come_by(name)) {
        // Nothing is flushed, and nobody is told.
        let _ = signal_hook::low_level::raise(signal_hook::consts::SIGKILL);
        unreachable!("nothing runs after SIGKILL");
    }
    assert!(!PANIC.as_ref().is_some_and(|told| told.come_by(name)), "told to panic at `{name}`");
    if let Some((_, file)) = STALL.as_ref().filter(|(told, _)| told.come_by(name)) {
        while !std::path::Path::new(file).exists() {
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }
}

/// A point, and how often it is to be passed before.
#[cfg(feature = "crash-points")]
struct Told {
    name: String,
    left: std::sync::atomic::AtomicU64,
}

#[cfg(feature = "crash-points")]
impl Told {
    fn by(variable: &str) -> Option<Told> {
        Some(Told::of(&std::env::var(variable).ok()?))
    }

    fn of(told: &str) -> Self {
        let (name, times) = told.rsplit_once(':').expect("a point is `NAME:N`");
        let times: u64 = times.parse().expect("a point ends in a number");
        Told { name: name.to_string(), left: times.into() }
    }

    /// Whether this is the time.
    fn come_by(&self, name: &str) -> bool {
        use std::sync::atomic::Ordering::Relaxed;
        name == self.name && self.left.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1)) == Ok(1)
    }
}

/// Nothing, in a build without the feature `crash-points`.
#[cfg(not(feature = "crash-points"))]
#[inline(always)]
pub fn crash_point(_name: &str) {}
