//! A Parquet file of features, as the training package reads it.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::Type;
use tideflow_core::{ErrorKind, FeatureRow};

/// A file of features that cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeatureFileError {
    /// It would replace something.
    #[error("writing features to `{}`: expected no file yet, found one", file.display())]
    Exists {
        /// The file.
        file: PathBuf,
    },
    /// The file system does not take it.
    #[error("writing features to `{}`: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// It has no form for this.
    #[error("writing features to `{}`: {source}", file.display())]
    Form {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        source: ParquetError,
    },
}

impl FeatureFileError {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            FeatureFileError::Exists { .. } | FeatureFileError::Io { .. } => ErrorKind::Invalid,
            FeatureFileError::Form { .. } => ErrorKind::Fatal,
        }
    }
}

/// Rows of a row group: what a reader must hold at once.
const GROUP: usize = 1 << 16;

/// That nothing would be replaced.
pub(crate) fn expect_none(file: &Path) -> Result<(), FeatureFileError> {
    match file.symlink_metadata() {
        Ok(_) => Err(FeatureFileError::Exists { file: file.to_path_buf() }),
        Err(_) => Ok(()),
    }
}

/// Writes rows to a Parquet file: `key` whose they are, `time`, a column of float64 for each feature, and, where
/// it is known, `label` what is to be learnt of each row. Its folder is made; the file is there when it is whole,
/// and replaces nothing.
///
/// # Errors
/// When there is such a file, or it cannot be written.
pub fn write_features(
    file: &Path,
    names: &[impl AsRef<str>],
    rows: &[FeatureRow],
    labels: Option<&[f64]>,
) -> Result<(), FeatureFileError> {
    expect_none(file)?;
    let io = |source| FeatureFileError::Io { file: file.to_path_buf(), source };
    let form = |source| FeatureFileError::Form { file: file.to_path_buf(), source };
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(io)?;
    // Whoever may read what the process makes may read this.
    let mut beside = tempfile::Builder::new();
    beside.prefix(".features-").permissions(Permissions::from_mode(0o666));
    let mut beside = beside.tempfile_in(folder).map_err(io)?;
    let schema = schema(names, labels.is_some()).map_err(form)?;
    let properties = Arc::new(WriterProperties::default());
    let mut writer =
        SerializedFileWriter::new(beside.as_file_mut(), schema, properties).map_err(form)?;
    for (at, rows) in rows.chunks(GROUP).enumerate() {
        let labels = labels.map(|labels| &labels[at * GROUP..][..rows.len()]);
        let group = writer.next_row_group().map_err(form)?;
        write_group(group, rows, labels).map_err(form)?;
    }
    writer.close().map_err(form)?;
    beside.as_file().sync_all().map_err(io)?;
    beside.persist_noclobber(file).map(drop).map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => FeatureFileError::Exists { file: file.to_path_buf() },
        _ => io(error.error),
    })
}

/// Columns in the order of the schema.
fn write_group<W: io::Write + Send>(
    mut group: SerializedRowGroupWriter<'_, W>,
    rows: &[FeatureRow],
    labels: Option<&[f64]>,
) -> Result<(), ParquetError> {
    let mut number = 0;
    while let Some(mut column) = group.next_column()? {
        let width = rows.first().map_or(0, |row| row.features.len());
        match number {
            0 => {
                let keys: Vec<_> = rows.iter().map(|r| ByteArray::from(r.key.as_str())).collect();
                column.typed::<ByteArrayType>().write_batch(&keys, None, None)?;
            }
            1 => {
                let times: Vec<i64> = rows.iter().map(|row| row.time.0).collect();
                column.typed::<Int64Type>().write_batch(&times, None, None)?;
            }
            n if n - 2 < width => {
                let values: Vec<f64> = rows.iter().map(|row| row.features[n - 2]).collect();
                column.typed::<DoubleType>().write_batch(&values, None, None)?;
            }
            _ => {
                let labels = labels.expect("the schema has no more columns without them");
                column.typed::<DoubleType>().write_batch(labels, None, None)?;
            }
        }
        column.close()?;
        number += 1;
    }
    group.close()?;
    Ok(())
}

fn schema(names: &[impl AsRef<str>], labelled: bool) -> Result<Arc<Type>, ParquetError> {
    let column = |name: &str, physical: Physical, text: bool| {
        let logical = text.then_some(LogicalType::String);
        let column = Type::primitive_type_builder(name, physical);
        let column = column.with_repetition(Repetition::REQUIRED).with_logical_type(logical);
        column.build().map(Arc::new)
    };
    let mut columns =
        vec![column("key", Physical::BYTE_ARRAY, true)?, column("time", Physical::INT64, false)?];
    for name in names.iter().map(AsRef::as_ref).chain(labelled.then_some("label")) {
        columns.push(column(name, Physical::DOUBLE, false)?);
    }
    Ok(Arc::new(Type::group_type_builder("features").with_fields(columns).build()?))
}
