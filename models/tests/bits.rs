//! A row's scores are the same bits whoever computes them, whatever rows are scored beside it, wherever it lies.

#[path = "shared/models.rs"]
mod models;

use std::sync::LazyLock;
use std::thread;

use models::MODELS;
use proptest::collection::vec;
use proptest::prelude::*;
use tideflow_models::{Model, TensorFlowModel};

/// Networks of the shapes that are in use: a small one, one of 784 inputs, and several side by side.
static NETWORKS: LazyLock<[TensorFlowModel; 3]> = LazyLock::new(|| {
    ["net", "wide", "members"].map(|name| TensorFlowModel::load(MODELS.join(name)).unwrap())
});

/// The bits of all scores of a batch, row by row.
fn bits(model: &TensorFlowModel, batch: &[f64]) -> Vec<Vec<u64>> {
    let (width, mut scores) = (model.signature().width(), Vec::new());
    let rows = batch.len() / width;
    model.score(batch, rows, &mut scores).unwrap();
    let bits: Vec<u64> = scores.iter().map(|score| score.to_bits()).collect();
    bits.chunks(bits.len() / rows).map(<[u64]>::to_vec).collect()
}

fn rows(count: usize, width: usize) -> impl Strategy<Value = Vec<f64>> {
    vec(-8.0_f64..8.0, count * width)
}

/// A batch of rows, and a place in it.
type Batch = (Vec<f64>, usize);

/// A network, a row of it, and other rows to fill a small and a large batch, with a place in each.
fn company() -> impl Strategy<Value = (usize, Vec<f64>, [Batch; 2])> {
    (0..NETWORKS.len()).prop_flat_map(|network| {
        let width = NETWORKS[network].signature().width();
        let batches = [32, 256].map(|count| (rows(count, width), 0..count));
        (Just(network), rows(1, width), batches)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_rows_bits_depend_on_neither_company_nor_place((network, row, batches) in company()) {
        let network = &NETWORKS[network];
        for (mut batch, place) in batches {
            let mut alone = row.clone();
            alone.resize(batch.len(), 0.0);
            batch[place * row.len()..][..row.len()].copy_from_slice(&row);
            prop_assert_eq!(&bits(network, &batch)[place], &bits(network, &alone)[0]);
        }
    }
}

#[test]
fn four_threads_get_the_same_bits() {
    for network in &*NETWORKS {
        let batch: Vec<f64> = (0..256 * network.signature().width())
            .map(|n| f64::from(n as u32 % 97) / 12.0 - 4.0)
            .collect();
        let expected = bits(network, &batch);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..20).for_each(|_| assert_eq!(bits(network, &batch), expected)));
            }
        });
    }
}
