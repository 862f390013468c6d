//! What devices add to their site and region.

use serde::{Deserialize, Serialize};
use tideflow::core::differential_dataflow::difference::{IsZero, Multiply, Semigroup};
use tideflow::operators::Fixed;

/// How many devices there are, how many of them were heard of, and the sums of what these said last: of
/// temperature, vibration and current. Zero where there is no device.
///
/// A difference of differential dataflow, which adds them up itself: it must know how to add two
/// ([`Semigroup`]), when nothing is left ([`IsZero`]), and what a device is that comes or goes so many times
/// ([`Multiply`] by a count, negative where it goes).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sums {
    /// Devices.
    pub devices: i64,
    /// Those heard of.
    pub reporting: i64,
    /// The sums.
    pub values: [Fixed; 3],
}

impl Sums {
    /// That of a device.
    pub fn device() -> Self {
        Sums { devices: 1, ..Sums::default() }
    }

    /// That of what it said last.
    pub fn reporting(values: [Fixed; 3]) -> Self {
        Sums { devices: 0, reporting: 1, values }
    }
}

impl IsZero for Sums {
    fn is_zero(&self) -> bool {
        *self == Sums::default()
    }
}

impl Semigroup for Sums {
    fn plus_equals(&mut self, other: &Sums) {
        self.devices += other.devices;
        self.reporting += other.reporting;
        self.values.iter_mut().zip(&other.values).for_each(|(sum, value)| sum.plus_equals(value));
    }
}

impl Multiply<isize> for Sums {
    type Output = Sums;

    fn multiply(self, times: &isize) -> Sums {
        let Sums { devices, reporting, values } = self;
        let count = *times as i64;
        Sums {
            devices: devices * count,
            reporting: reporting * count,
            values: values.map(|value| value.multiply(times)),
        }
    }
}
