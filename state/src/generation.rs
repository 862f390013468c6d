//! Which start of a job a process belongs to.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Store, StoreError};

/// The number of a start of a job, from 1. Every start takes the next one; what an older one does after
/// that does not count.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

const FOLDER: &str = "generation";
/// Numbers behind the newest that are kept, to look at.
const KEPT: u64 = 100;

impl Store {
    /// Takes the next generation: its number is nobody else's, and the highest so far.
    ///
    /// ```
    /// use tideflow_state::{Generation, Store};
    /// let folder = tempfile::tempdir()?;
    /// let store = Store::open(folder.path().to_str().unwrap(), "fleet")?;
    /// assert_eq!(store.take_generation()?, Generation(1));
    /// assert_eq!(store.take_generation()?, Generation(2));
    /// assert_eq!(store.generation()?, Generation(2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the store does not do it.
    pub fn take_generation(&self) -> Result<Generation, StoreError> {
        loop {
            let Generation(newest) = self.generation()?;
            match self.create(&name(newest + 1), Vec::new()) {
                Ok(()) => {
                    // Who still sees the number that goes takes it again, and is superseded then.
                    if let Some(old) = (newest + 1).checked_sub(KEPT) {
                        self.remove(&name(old))?;
                    }
                    return Ok(Generation(newest + 1));
                }
                // Somebody was faster, and so has a higher one than was seen: each turn is a start.
                Err(StoreError::Taken { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The highest generation taken, asked by a process that has taken `own`.
    ///
    /// # Errors
    /// Those of [`Store::generation`]; [`StoreError::Missing`] when the store does not know of `own`: it is
    /// another one than it was, such as the folder below a disk that is not mounted any more.
    pub fn generation_since(&self, own: Generation) -> Result<Generation, StoreError> {
        match self.generation()? {
            newest if newest >= own => Ok(newest),
            _ => Err(StoreError::Missing { place: self.place().to_string(), name: name(own.0) }),
        }
    }

    /// The highest generation taken; 0 before the first. A process that belongs to a lower one has been
    /// superseded.
    ///
    /// # Errors
    /// When the store does not answer, or has a name there that is not ours.
    pub fn generation(&self) -> Result<Generation, StoreError> {
        let names = self.names(FOLDER)?;
        let Some(newest) = names.last() else { return Ok(Generation(0)) };
        newest.parse().map(Generation).map_err(|_| StoreError::Place {
            place: self.place().to_string(),
            expected: "numbers in the job's folder `generation`",
            found: format!("`{newest}`"),
        })
    }
}

/// In a form whose order is that of the numbers.
fn name(number: u64) -> String {
    format!("{FOLDER}/{number:020}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_start_has_a_generation_of_its_own_however_many_race() {
        let folder = tempfile::tempdir().expect("a folder for a while");
        let place = folder.path().to_str().expect("plain");
        let starts = |_| {
            // A store each, as processes have.
            let store = Store::open(place, "fleet").expect("it is there");
            (0..20).map(|_| store.take_generation().expect("it works").0).collect::<Vec<_>>()
        };
        let mut taken: Vec<u64> = std::thread::scope(|threads| {
            let racing: Vec<_> = (0..8).map(|n| threads.spawn(move || starts(n))).collect();
            racing.into_iter().flat_map(|t| t.join().expect("it does not panic")).collect()
        });
        taken.sort_unstable();
        assert_eq!(taken, (1..=160).collect::<Vec<_>>());
        let store = Store::open(place, "fleet").expect("it is there");
        assert_eq!(store.generation().expect("it answers"), Generation(160));
        assert_eq!(store.names(FOLDER).expect("it answers").len() as u64, KEPT);
    }

    #[test]
    fn jobs_in_one_place_have_generations_of_their_own() {
        let folder = tempfile::tempdir().expect("a folder for a while");
        let open =
            |job| Store::open(folder.path().to_str().expect("plain"), job).expect("it is there");
        assert_eq!(open("a").take_generation().expect("it works"), Generation(1));
        assert_eq!(open("b").take_generation().expect("it works"), Generation(1));
        assert_eq!(open("a").take_generation().expect("it works"), Generation(2));
    }

    #[test]
    fn fault_a_write_that_was_killed_takes_no_generation() {
        let folder = tempfile::tempdir().expect("a folder for a while");
        let store = Store::open(folder.path().to_str().expect("plain"), "fleet").expect("there");
        store.take_generation().expect("it works");
        // What a write leaves when it is killed before the object has its name.
        let half = folder.path().join("fleet").join(name(2) + "#1");
        std::fs::write(half, "").expect("the folder is ours");
        assert_eq!(store.generation().expect("it answers"), Generation(1));
        assert_eq!(store.take_generation().expect("it works"), Generation(2));
    }

    #[test]
    fn fault_a_store_that_has_forgotten_its_generations_is_told_and_is_not_a_new_one() {
        let folder = tempfile::tempdir().expect("a folder for a while");
        let store = Store::open(folder.path().to_str().expect("plain"), "fleet").expect("there");
        let own = store.take_generation().expect("it works");
        assert_eq!(store.generation_since(own).expect("it is there"), own);
        // As a disk that is not mounted any more: the folder below is empty.
        std::fs::remove_dir_all(folder.path().join("fleet")).expect("the folder is ours");
        let told = store.generation_since(own).expect_err("it is away").to_string();
        assert!(told.ends_with("`generation/00000000000000000001` is missing"), "{told}");
    }

    #[test]
    fn fault_a_foreign_name_is_told() {
        let folder = tempfile::tempdir().expect("a folder for a while");
        let store = Store::open(folder.path().to_str().expect("plain"), "fleet").expect("there");
        store.create("generation/notes.txt", Vec::new()).expect("it works");
        let told = store.take_generation().expect_err("it is not ours").to_string();
        assert!(
            told.ends_with("expected numbers in the job's folder `generation`, found `notes.txt`")
        );
    }
}
