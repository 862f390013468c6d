//! What a job has published beside what it should have.

use std::cmp::Ordering;
use std::ops::AddAssign;

use crate::topics::Sent;

/// How two contents of topics differ. A record whose content is another one counts as wrong and as lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Expected, and not there.
    pub lost: usize,
    /// There more often than expected.
    pub duplicated: usize,
    /// There, and never expected.
    pub wrong: usize,
    /// The first that differs.
    pub example: Option<Sent>,
    /// Views that were held against what they come to in the end only, not against every cut: no difference.
    pub by_end: usize,
}

impl Difference {
    /// Between what was found and expected, both sorted.
    pub fn between(found: &[Sent], expected: &[Sent]) -> Difference {
        let mut difference = Difference::default();
        let (mut f, mut e) = (found.iter().peekable(), expected.iter().peekable());
        loop {
            let order = match (f.peek(), e.peek()) {
                (None, None) => return difference,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(found), Some(expected)) => found.cmp(expected),
            };
            let differing = match order {
                Ordering::Equal => {
                    f.next();
                    e.next();
                    continue;
                }
                Ordering::Less => {
                    let more = f.next().expect("just seen");
                    match expected.binary_search(more) {
                        Ok(_) => difference.duplicated += 1,
                        Err(_) => difference.wrong += 1,
                    }
                    more
                }
                Ordering::Greater => {
                    difference.lost += 1;
                    e.next().expect("just seen")
                }
            };
            difference.example.get_or_insert_with(|| differing.clone());
        }
    }

    /// That there is none.
    pub fn is_none(&self) -> bool {
        let Difference { by_end, .. } = *self;
        *self == Difference { by_end, ..Difference::default() }
    }
}

impl AddAssign for Difference {
    fn add_assign(&mut self, other: Difference) {
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.wrong += other.wrong;
        self.example = self.example.take().or(other.example);
        self.by_end += other.by_end;
    }
}

#[test]
fn the_checker_tells_lost_from_duplicated_from_wrong() {
    let sent = |text: &str| Sent { value: Some(text.into()), ..Sent::default() };
    let all = |texts: &[&str]| texts.iter().map(|text| sent(text)).collect::<Vec<_>>();
    let between = |found: &[&str], expected: &[&str]| {
        let d = Difference::between(&all(found), &all(expected));
        (d.lost, d.duplicated, d.wrong)
    };
    assert_eq!(between(&["a", "a", "b"], &["a", "a", "b"]), (0, 0, 0));
    assert_eq!(between(&["a", "b"], &["a", "a", "b", "c"]), (2, 0, 0));
    assert_eq!(between(&["a", "a", "a", "b", "b"], &["a", "a", "b"]), (0, 2, 0));
    assert_eq!(between(&["a", "x"], &["a", "b"]), (1, 0, 1));
    assert_eq!(between(&["a"], &[]), (0, 0, 1));
}
