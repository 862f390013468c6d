//! Features as a Parquet file, for training.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use parquet::basic::{LogicalType, Repetition, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;

/// Rows of features: `key` whose they are, `time` the row or cycle, a column each feature, and, where it is known,
/// `label` what is to be learnt.
#[derive(Debug, Default)]
pub struct Table {
    pub keys: Vec<String>,
    pub times: Vec<i64>,
    /// A row after the other.
    pub features: Vec<f64>,
    pub labels: Vec<f64>,
}

/// Writes a table, in one row group.
///
/// # Errors
/// When the file cannot be written.
pub fn write(file: &Path, names: &[&str], table: &Table) -> anyhow::Result<()> {
    let doing = || format!("writing `{}`", file.display());
    let out = File::create(file).with_context(doing)?;
    let labelled = !table.labels.is_empty();
    let schema = schema(names, labelled).with_context(doing)?;
    let mut writer = SerializedFileWriter::new(out, schema, Arc::new(WriterProperties::default()))?;
    let mut group = writer.next_row_group()?;
    let mut number = 0;
    while let Some(mut column) = group.next_column()? {
        let feature = |at: usize| -> Vec<f64> {
            table.features.iter().skip(at).step_by(names.len()).copied().collect()
        };
        match number {
            0 => {
                let keys = table.keys.iter().map(|key| ByteArray::from(key.as_str()));
                let keys: Vec<_> = keys.collect();
                column.typed::<ByteArrayType>().write_batch(&keys, None, None)?;
            }
            1 => drop(column.typed::<Int64Type>().write_batch(&table.times, None, None)?),
            n if n - 2 < names.len() => {
                column.typed::<DoubleType>().write_batch(&feature(n - 2), None, None)?;
            }
            _ => drop(column.typed::<DoubleType>().write_batch(&table.labels, None, None)?),
        }
        column.close()?;
        number += 1;
    }
    group.close()?;
    writer.close().with_context(doing)?;
    Ok(())
}

fn schema(names: &[&str], labelled: bool) -> anyhow::Result<Arc<Type>> {
    let column = |name: &str, physical: Physical, text: bool| {
        let logical = text.then_some(LogicalType::String);
        let column = Type::primitive_type_builder(name, physical);
        let column = column.with_repetition(Repetition::REQUIRED).with_logical_type(logical);
        column.build().map(Arc::new)
    };
    let mut columns =
        vec![column("key", Physical::BYTE_ARRAY, true)?, column("time", Physical::INT64, false)?];
    for name in names.iter().copied().chain(labelled.then_some("label")) {
        columns.push(column(name, Physical::DOUBLE, false)?);
    }
    Ok(Arc::new(Type::group_type_builder("features").with_fields(columns).build()?))
}
