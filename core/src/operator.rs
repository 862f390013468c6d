//! Which operator this thread is running: for the panic report.

use std::cell::Cell;

use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use crate::Epoch;

thread_local! {
    static CURRENT: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// The name of the operator that this thread is running, or ran its helper thread for.
pub fn current_operator() -> Option<&'static str> {
    CURRENT.get()
}

/// An operator's name, kept for the life of the process: graphs have few.
#[derive(Clone, Copy, Debug)]
pub struct OperatorName(&'static str);

impl OperatorName {
    /// Keeps the name.
    pub fn new(name: &str) -> Self {
        OperatorName(Box::leak(name.into()))
    }

    /// The name.
    pub fn as_str(self) -> &'static str {
        self.0
    }

    /// Runs `f` as this operator. Not restored when `f` panics: the report wants to know.
    #[inline]
    pub fn run<R>(self, f: impl FnOnce() -> R) -> R {
        let before = CURRENT.replace(Some(self.0));
        let result = f();
        CURRENT.set(before);
        result
    }

    /// Starts a thread that works for this operator. A panic in it is reported under its name.
    ///
    /// # Panics
    /// When the operating system refuses a thread.
    pub fn spawn<R: Send + 'static>(
        self,
        f: impl FnOnce() -> R + Send + 'static,
    ) -> std::thread::JoinHandle<R> {
        std::thread::Builder::new()
            .name(self.0.to_string())
            .spawn(move || self.run(f))
            .expect("the operating system refused a thread")
    }
}

/// Ends the construction of an operator that will not run, because it could not start: timely insists
/// that each one begun is installed, and would hide the reason behind a panic.
pub(crate) fn abandon(builder: OperatorBuilder<'_, Epoch>) {
    builder.build(|capabilities| {
        drop(capabilities);
        |_frontiers| {}
    });
}
