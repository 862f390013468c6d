//! Rows a second of a SavedModel that is called as fast as it answers, by the native library alone: what the rest
//! is held against. `bare_session FOLDER ROWS SECONDS`; the first fifth is left out.
//!
//! One thread calls it with one tensor, which was filled before: more than any program reaches whose rows differ.

use std::time::{Duration, Instant};

use tensorflow::{Graph, SavedModelBundle, SessionOptions, SessionRunArgs, Tensor};
use tideflow_models::{Manifest, TensorFlowModel};

/// One thread within an operation, and that of the caller between them, as Tideflow has it.
const CONFIG: [u8; 13] =
    [0x10, 1, 0x28, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];

fn main() {
    let mut args = std::env::args().skip(1);
    let mut next = || args.next().expect("bare_session FOLDER ROWS SECONDS");
    let (folder, rows, seconds) = (next(), next(), next());
    let rows: u64 = rows.parse().expect("a number of rows");
    let limit = Duration::from_secs_f64(seconds.parse().expect("a number of seconds"));
    // Opens the library as every program does.
    TensorFlowModel::load(&folder).expect("a model");
    let manifest = Manifest::read(folder.as_ref()).expect("a manifest");
    let (input, output) = (&manifest.inputs[0], &manifest.outputs[0]);

    let mut options = SessionOptions::new();
    options.set_config(&CONFIG).expect("a configuration");
    let mut graph = Graph::new();
    let bundle = SavedModelBundle::load(&options, ["serve"], &mut graph, &folder).expect("a model");
    let signature = &bundle.meta_graph_def().signatures()[&manifest.signature];
    let place = |info: &tensorflow::TensorInfo| {
        let name = info.name();
        (graph.operation_by_name_required(&name.name).expect("it is there"), name.index)
    };
    let (into, at) = place(&signature.inputs()[&input.tensor]);
    let (out, from) = place(&signature.outputs()[&output.tensor]);
    let mut tensor = Tensor::<f32>::new(&[rows, input.features.len() as u64]);
    tensor.iter_mut().enumerate().for_each(|(n, x)| *x = (n % 1_000) as f32 / 1_000.0);

    let mut sum = 0.0;
    let mut call = || {
        let mut step = SessionRunArgs::new();
        step.add_feed(&into, at, &tensor);
        let token = step.request_fetch(&out, from);
        bundle.session.run(&mut step).expect("it runs");
        sum += step.fetch::<f32>(token).expect("scores")[0];
    };
    // The first call makes the native library ready.
    let warming = Instant::now();
    while warming.elapsed() < limit / 5 {
        call();
    }
    let (mut calls, started) = (0, Instant::now());
    while started.elapsed() < limit * 4 / 5 {
        call();
        calls += 1;
    }
    let rows_per_s = (calls * rows) as f64 / started.elapsed().as_secs_f64();
    assert!(sum.is_finite(), "scores are numbers");
    println!("{}", serde_json::json!({ "batch_rows": rows, "rows_per_s": rows_per_s }));
}
