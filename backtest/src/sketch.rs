//! How numbers are distributed, in little memory.

use std::collections::BTreeMap;

/// Counts of numbers that are alike: of the same sign and power of two, and the same of 256 steps between two
/// powers. So a quantile is right to 0.4 %. Memory: 16 bytes for each step that occurs, a million at most;
/// scores between 0 and 1 that matter take some thousand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sketch {
    counts: BTreeMap<u32, u64>,
    len: u64,
}

/// Bits of a number that are not looked at.
const REST: u32 = 64 - 1 - 11 - 8;
/// Below this share a bin counts as if it had so much: PSI is a logarithm.
const SHARE_MIN: f64 = 1e-4;

/// A number's step, in the order of the numbers.
fn step(number: f64) -> u32 {
    let bits = number.to_bits();
    let ordered = if bits >> 63 == 1 { !bits } else { bits | 1 << 63 };
    (ordered >> REST) as u32
}

/// The least number of a step.
fn least(step: u32) -> f64 {
    let ordered = u64::from(step) << REST;
    f64::from_bits(if ordered >> 63 == 1 { ordered & !(1 << 63) } else { !ordered })
}

impl Sketch {
    /// Counts a number. Both zeros are one.
    pub fn add(&mut self, number: f64) {
        *self.counts.entry(step(number + 0.0)).or_default() += 1;
        self.len += 1;
    }

    fn step_at(&self, share: f64) -> Option<u32> {
        let rank = ((share * self.len as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let found = self.counts.iter().find(|(_, count)| {
            seen += **count;
            seen >= rank
        });
        found.map(|(step, _)| *step)
    }

    /// The number that this share of them do not exceed, to 0.4 %; none where there is none.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        self.step_at(share).map(least)
    }

    /// The population stability index of other numbers against these: over the tenths of these, the sum of
    /// `(other - own) ln (other / own)`, shares of 0.0001 at least. None where either has no numbers.
    pub fn psi(&self, other: &Sketch) -> Option<f64> {
        let mut edges: Vec<u32> =
            (1..10).filter_map(|n| self.step_at(f64::from(n) / 10.0)).collect();
        edges.dedup();
        if self.len == 0 || other.len == 0 {
            return None;
        }
        let shares = |of: &Sketch| {
            let mut counts = vec![0_u64; edges.len() + 1];
            of.counts.iter().for_each(|(s, n)| counts[edges.partition_point(|e| e < s)] += n);
            let share = |count: u64| (count as f64 / of.len as f64).max(SHARE_MIN);
            counts.into_iter().map(share).collect::<Vec<_>>()
        };
        let pairs = shares(self).into_iter().zip(shares(other));
        Some(pairs.map(|(own, other)| (other - own) * (other / own).ln()).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(numbers: impl IntoIterator<Item = f64>) -> Sketch {
        let mut sketch = Sketch::default();
        numbers.into_iter().for_each(|number| sketch.add(number));
        sketch
    }

    #[test]
    fn oracle_quantiles_are_right_to_four_thousandths() {
        let numbers: Vec<f64> = (0..10_000).map(|n| f64::from(n - 4_000).powi(3) / 1e9).collect();
        let sketch = of(numbers.iter().copied());
        for share in [0.01, 0.25, 0.5, 0.95, 0.99, 1.0] {
            let expected = numbers[((share * 10_000.0) as usize).max(1) - 1];
            let found = sketch.quantile(share).expect("there are some");
            assert!((found - expected).abs() <= expected.abs() / 250.0, "{found} {expected}");
        }
        assert_eq!(of([0.0, -0.0, 0.0]).quantile(0.99), Some(0.0));
        assert_eq!(of([]).quantile(0.5), None);
    }

    #[test]
    fn psi_is_nothing_for_the_same_and_what_its_formula_says_for_others() {
        let own = of((0..1_000).map(f64::from));
        assert_eq!(own.psi(&own.clone()), Some(0.0));
        // All of it in one tenth of the other: nine tenths lose all they had.
        let other = of([5.5; 100]);
        let lost = 9.0 * (1e-4_f64 - 0.1) * (1e-4_f64 / 0.1).ln();
        let expected = lost + (1.0 - 0.1) * (1.0_f64 / 0.1).ln();
        let found = own.psi(&other).expect("both have some");
        assert!((found - expected).abs() < 0.05, "{found} {expected}");
        assert_eq!(own.psi(&of([])), None);
    }
}
