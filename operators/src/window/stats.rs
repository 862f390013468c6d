//! Count, mean, deviation and extremes of a series, exact whatever the order.

use ethnum::U256;
use serde::{Deserialize, Serialize};

/// Running count, sum and extremes of one quantity, 48 bytes.
///
/// The sum is kept as an integer (in units of 2^-64), so adding is commutative and associative: any
/// order, any split over partitions and any replay gives the same bits.
///
/// Values must lie within [`Total::LIMIT`]; beyond it, and beyond 8 million values at the limit, the
/// sum saturates.
///
/// ```
/// use tideflow_operators::Total;
/// let mut total = Total::default();
/// [1e11, 0.1, -1e11].iter().for_each(|x| total.add(*x));
/// assert_eq!((total.sum(), total.max()), (0.1, 1e11));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Total {
    count: u64,
    min: f64,
    max: f64,
    sum: i128,
}

impl Default for Total {
    fn default() -> Self {
        Total { count: 0, min: f64::INFINITY, max: f64::NEG_INFINITY, sum: 0 }
    }
}

/// 2^64: one unit of the quantity in units of the sum.
pub(crate) const UNIT: f64 = 18_446_744_073_709_551_616.0;

impl Total {
    /// The magnitude from which on values are not kept exactly: 2^40, about 1.1e12.
    pub const LIMIT: f64 = 1_099_511_627_776.0;

    /// Adds a value. It must be finite and within [`Total::LIMIT`]: sources reject what is not.
    #[inline]
    pub fn add(&mut self, value: f64) {
        self.add_units(value);
    }

    #[inline]
    fn add_units(&mut self, value: f64) -> i128 {
        debug_assert!(value.abs() < Self::LIMIT, "{value} is beyond the limit");
        let value = value + 0.0; // -0 becomes 0: which of the two is less would depend on the order
        self.count += 1;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        let units = fixed(value);
        self.sum = self.sum.saturating_add(units);
        units
    }

    /// Adds all that another one has.
    pub fn include(&mut self, other: &Total) {
        self.count += other.count;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// How many values were added.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The sum, rounded once.
    pub fn sum(&self) -> f64 {
        self.sum as f64 / UNIT
    }

    /// The arithmetic mean: the rounded sum divided by the count. NaN of no value at all.
    pub fn mean(&self) -> f64 {
        self.sum() / self.count as f64
    }

    /// The least value; infinite of no value at all.
    pub fn min(&self) -> f64 {
        self.min
    }

    /// The greatest value; minus infinite of no value at all.
    pub fn max(&self) -> f64 {
        self.max
    }
}

/// Running statistics of one quantity, 80 bytes: a [`Total`] with the deviation, as exact as that.
///
/// Squares are summed as integers too, so that the deviation has no cancellation, however large the
/// offset.
///
/// ```
/// use tideflow_operators::Stats;
/// let mut stats = Stats::default();
/// [1.0, 2.0, 6.0].iter().for_each(|x| stats.add(*x));
/// let s = stats.summary();
/// assert_eq!((s.mean, s.min, s.max), (3.0, 1.0, 6.0));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    total: Total,
    #[serde(with = "ethnum::serde::bytes::le")]
    squares: U256,
}

/// What [`Stats`] say, in the unit of the quantity.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The arithmetic mean.
    pub mean: f64,
    /// The standard deviation of the population (divided by n, 0 for one value).
    pub std: f64,
    /// The least value.
    pub min: f64,
    /// The greatest value.
    pub max: f64,
}

impl Stats {
    /// The magnitude from which on values are not kept exactly: that of [`Total`].
    pub const LIMIT: f64 = Total::LIMIT;

    /// Adds a value. It must be finite and within [`Stats::LIMIT`]: sources reject what is not.
    #[inline]
    pub fn add(&mut self, value: f64) {
        let units = self.total.add_units(value);
        self.squares = self.squares.saturating_add(square(units.unsigned_abs()));
    }

    /// How many values were added.
    pub fn count(&self) -> u64 {
        self.total.count
    }

    /// The statistics; of no value at all, NaN and infinities.
    pub fn summary(&self) -> Summary {
        let Total { count, min, max, sum } = self.total;
        let n = count as f64;
        // n^2 variance = n sum(x^2) - sum(x)^2, in integers; the difference fits where its parts wrap.
        let spread =
            self.squares.wrapping_mul(U256::from(count)).wrapping_sub(square(sum.unsigned_abs()));
        let std = (nearest(spread) / (n * n)).sqrt() / UNIT;
        Summary { mean: self.total.mean(), std, min, max }
    }
}

fn square(units: u128) -> U256 {
    U256::from(units).wrapping_mul(U256::from(units))
}

/// The nearest float. `U256::as_f64` rounds each half by itself, which is off by one unit in the last
/// place now and then.
fn nearest(x: U256) -> f64 {
    let shift = 128_u32.saturating_sub(x.leading_zeros());
    // 128 bits from the first one on, the last of them set where something is cut off.
    let cut = x & ((U256::ONE << shift) - U256::ONE);
    let kept = (x >> shift).as_u128() | u128::from(cut != U256::ZERO);
    kept as f64 * f64::from_bits(u64::from(1023 + shift) << 52)
}

/// The value in units of 2^-64, rounded to the nearest (half to even below 2^-12 only: above, exact).
#[inline]
pub(crate) fn fixed(value: f64) -> i128 {
    let bits = value.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i32;
    let mantissa = (bits & ((1 << 52) - 1)) | if exponent == 0 { 0 } else { 1 << 52 };
    let shift = exponent.max(1) - 1075 + 64;
    let magnitude = match shift {
        0..75 => i128::from(mantissa) << shift,
        -63..0 => {
            let (kept, rest) = (mantissa >> -shift, mantissa & ((1 << -shift) - 1));
            let half = 1u64 << (-shift - 1);
            let up = rest > half || (rest == half && kept & 1 == 1);
            i128::from(kept + u64::from(up))
        }
        ..-63 => 0,
        75.. => i128::MAX >> 23,
    };
    if value < 0.0 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stats(values: &[f64]) -> Stats {
        let mut stats = Stats::default();
        values.iter().for_each(|v| stats.add(*v));
        stats
    }

    #[test]
    fn a_large_offset_costs_no_precision() {
        let shifted: Vec<f64> = [1.0, 2.0, 3.0, 4.0].iter().map(|x| x + 1e9).collect();
        assert_eq!(stats(&shifted).summary().std, stats(&[1.0, 2.0, 3.0, 4.0]).summary().std);
        assert_eq!(stats(&[1.0, 2.0, 3.0, 4.0]).summary().std, 1.25f64.sqrt());
    }

    #[test]
    fn a_wide_integer_becomes_the_nearest_float() {
        // 2^200 + 2^147 lies halfway between two floats: to even, and up with one unit more.
        let half = (U256::ONE << 200) + (U256::ONE << 147);
        assert_eq!(nearest(half), 2f64.powi(200));
        assert_eq!(nearest(half + U256::ONE), 2f64.powi(200) + 2f64.powi(148));
        assert_eq!(nearest(half - U256::ONE), 2f64.powi(200));
        assert_eq!(nearest(U256::MAX), 2f64.powi(256));
        for small in [0_u64, 1, 3, u64::MAX] {
            assert_eq!(nearest(U256::from(small)), small as f64);
        }
    }

    #[test]
    fn one_value_has_no_deviation() {
        let s = stats(&[21.37]).summary();
        assert_eq!(s, Summary { mean: 21.37, std: 0.0, min: 21.37, max: 21.37 });
    }

    #[test]
    fn fixed_point_is_exact_down_to_2_to_the_minus_12() {
        for value in [0.0, 1.0, -1.0, 21.37, 0.000_25, 1e12, -123.456e9] {
            assert_eq!(fixed(value) as f64 / UNIT, value);
        }
        assert_eq!(fixed(1e-30), 0);
        assert_eq!(fixed(-1.5 / UNIT), -2);
        assert_eq!(fixed(0.5 / UNIT), 0);
    }

    proptest! {
        #[test]
        fn oracle_order_does_not_matter_and_the_textbook_agrees(
            values in prop::collection::vec(-1.0..1.0f64, 1..200), scale in -6..11i32,
            offset in -100.0..100.0f64, seed in any::<u64>(),
        ) {
            let scale = 10f64.powi(scale);
            let mut values: Vec<f64> = values.iter().map(|v| (v + offset) * scale).collect();
            let first = stats(&values);
            let mut s = seed;
            for i in (1..values.len()).rev() {
                s = s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                values.swap(i, (s >> 33) as usize % (i + 1));
            }
            prop_assert_eq!(&stats(&values), &first);
            let n = values.len() as f64;
            let mean = values.iter().sum::<f64>() / n;
            let std = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
            let s = first.summary();
            // The textbook's own rounding, and below 2^-12 that of the fixed point.
            let close = 1e-12 * (1.0 + offset.abs()) * scale + 1e-18;
            prop_assert!((s.mean - mean).abs() <= close, "{} {}", s.mean, mean);
            prop_assert!((s.std - std).abs() <= close, "{} {}", s.std, std);
        }
    }
}
