//! Numbers that add up to the same in any order, and that can be taken away again.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tideflow_core::differential_dataflow::difference::{
    Abelian, IsZero, Monoid, Multiply, Semigroup,
};

use crate::window::{UNIT, fixed};

/// A number in units of 2^-64. As a difference of a collection it is a sum that follows every change at
/// the cost of that change, and that is exactly zero again when all is taken away.
///
/// Numbers lie within [`Total::LIMIT`](crate::Total::LIMIT), and so must their sums within 8 million
/// times that; beyond it a sum wraps, and is right again once it is back.
///
/// ```
/// use tideflow_operators::Fixed;
/// let mean = Fixed::from(0.5).plus(Fixed::from(21.0)).mean(2);
/// assert_eq!(mean, 10.75);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fixed(i128);

/// Exactly, in units of 2^-64; where people read it, the nearest float.
impl Serialize for Fixed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => self.value().serialize(serializer),
            false => self.0.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Fixed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.is_human_readable() {
            true => f64::deserialize(deserializer).map(Fixed::from),
            false => i128::deserialize(deserializer).map(Fixed),
        }
    }
}

impl From<f64> for Fixed {
    /// Rounded to the nearest; exact from 2^-12 on.
    fn from(value: f64) -> Self {
        Fixed(fixed(value))
    }
}

impl Fixed {
    /// The sum of both.
    #[must_use]
    pub fn plus(self, other: Fixed) -> Fixed {
        Fixed(self.0.wrapping_add(other.0))
    }

    /// The nearest float.
    pub fn value(self) -> f64 {
        self.0 as f64 / UNIT
    }

    /// The mean of `count` numbers of this sum, as [`Total::mean`](crate::Total::mean) rounds it.
    pub fn mean(self, count: u64) -> f64 {
        self.value() / count as f64
    }
}

impl IsZero for Fixed {
    fn is_zero(&self) -> bool {
        self.0 == 0
    }
}

impl Semigroup for Fixed {
    fn plus_equals(&mut self, other: &Fixed) {
        *self = self.plus(*other);
    }
}

impl Monoid for Fixed {
    fn zero() -> Self {
        Fixed(0)
    }
}

impl Abelian for Fixed {
    fn negate(&mut self) {
        self.0 = self.0.wrapping_neg();
    }
}

impl Multiply<isize> for Fixed {
    type Output = Fixed;

    fn multiply(self, times: &isize) -> Fixed {
        Fixed(self.0.wrapping_mul(*times as i128))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Total;

    proptest! {
        #[test]
        fn oracle_what_is_taken_away_leaves_the_bits_of_what_is_left(
            kept in prop::collection::vec(-1e12..1e12f64, 1..50),
            gone in prop::collection::vec(-1e12..1e12f64, 0..50),
        ) {
            let mut sum = Fixed::zero();
            let mut add = |value: &f64, times: isize| {
                sum.plus_equals(&Fixed::from(*value).multiply(&times));
            };
            gone.iter().for_each(|value| add(value, 1));
            kept.iter().for_each(|value| add(value, 1));
            gone.iter().rev().for_each(|value| add(value, -1));
            let mut total = Total::default();
            kept.iter().for_each(|value| total.add(*value));
            prop_assert_eq!(sum.mean(kept.len() as u64).to_bits(), total.mean().to_bits());
        }
    }
}
