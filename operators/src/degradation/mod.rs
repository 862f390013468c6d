//! Whether a model is still good: what it is given against what it was trained on, and what it says against
//! labels that come later.

mod degraded;
mod drift;
mod figures;
mod joined;
mod judge;
mod parts;
mod shown;
mod tally;

pub use degraded::{Aspect, Degraded, Watched};
pub use drift::{Drift, DriftOptions};
pub use figures::Quality;
pub use judge::{Judge, JudgeOptions, Judged, Label};
pub use tally::psi;
