//! Which worker reads which partition.

use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The worker, out of `workers`, that reads each of the partitions `0..partitions` of a topic.
///
/// Rendezvous hashing with bounded load: a partition goes to the worker with the highest hash of
/// (topic, partition, worker) among those that have room, and no worker has more than its share of
/// the partitions so far. A partition's place depends on the partitions before it alone, so it stays
/// when new ones appear, and every worker computes the same without asking.
pub fn placement(topic: &str, partitions: usize, workers: usize) -> Vec<usize> {
    let mut load = vec![0; workers];
    let mut places = Vec::with_capacity(partitions);
    for partition in 0..partitions {
        let share = (partition + 1).div_ceil(workers);
        let rank = |worker: &usize| {
            let pair = ((partition as u64) << 32) | *worker as u64;
            xxh3_64_with_seed(topic.as_bytes(), pair)
        };
        let worker = (0..workers)
            .filter(|w| load[*w] < share)
            .max_by_key(rank)
            .expect("the workers' shares hold all partitions");
        load[worker] += 1;
        places.push(worker);
    }
    places
}

/// Those of a topic's partitions in this range that the worker reads.
pub fn own_partitions(topic: &str, range: Range<usize>, worker: usize, workers: usize) -> Vec<i32> {
    let places = placement(topic, range.end, workers);
    let own = range.filter(|p| places[*p] == worker);
    own.map(|p| i32::try_from(p).expect("Kafka numbers partitions in 32 bits")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_worker_has_its_share_and_no_more() {
        for workers in 1..9 {
            for partitions in 0..40usize {
                let places = placement("readings", partitions, workers);
                for worker in 0..workers {
                    let load = places.iter().filter(|w| **w == worker).count();
                    assert!(load <= partitions.div_ceil(workers), "{workers} {partitions}");
                }
            }
        }
    }

    #[test]
    fn a_partition_stays_where_it_is_when_others_appear() {
        let all = placement("readings", 64, 5);
        for partitions in 0..64 {
            assert_eq!(placement("readings", partitions, 5), all[..partitions]);
        }
    }

    #[test]
    fn golden_placement_never_changes() {
        assert_eq!(placement("readings", 8, 3), GOLDEN);
    }

    /// From another implementation of XXH3 and these rules, in Python.
    const GOLDEN: [usize; 8] = [2, 0, 1, 0, 1, 2, 0, 2];
}
