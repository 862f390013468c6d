//! Results as files.

use std::fs;
use std::path::Path;

use super::error::DetectError;
use super::files::{Format, Recording};
use super::graph::Outcome;

/// Checks that results do not go where the recordings are.
///
/// # Errors
/// When they do.
pub fn expect_apart(folder: &Path, input: &Path) -> Result<(), DetectError> {
    let real = |path: &Path| path.canonicalize().map_err(DetectError::io("reading", path));
    // It need not be there yet; what it would be made in is.
    let absolute = std::path::absolute(folder).map_err(DetectError::io("reading", folder))?;
    let there = absolute.ancestors().find(|path| path.exists()).unwrap_or(&absolute);
    match real(there)?.starts_with(real(input)?) {
        true => Err(DetectError::Among { folder: folder.to_path_buf() }),
        false => Ok(()),
    }
}

/// Writes the outcomes of each recording, a line for each of its rows, under its own path below `folder`; of
/// engines `rul.csv`, a line each. A row without an outcome, as while it calibrates, scores 0.
///
/// # Errors
/// Names the file that cannot be written.
pub fn write(
    format: Format,
    folder: &Path,
    recordings: &[Recording],
    outcomes: &[Outcome],
) -> Result<(), DetectError> {
    let mut tables: Vec<Vec<(f64, bool)>> =
        recordings.iter().map(|recording| vec![(0.0, false); recording.rows.len()]).collect();
    for Outcome { part, row, score, alarm } in outcomes {
        tables[*part as usize][*row as usize] = (*score, *alarm);
    }
    let write = |name: &Path, text: String| {
        let file = folder.join(name);
        let parent = file.parent().unwrap_or(folder);
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&file, text))
            .map_err(DetectError::io("writing", &file))
    };
    if format == Format::Cmapss {
        let line = |(recording, table): (&Recording, &Vec<(f64, bool)>)| {
            let (last, _) = table.last().expect("an engine has a row");
            format!("{},{last}\n", recording.name.display())
        };
        let lines: String = recordings.iter().zip(&tables).map(line).collect();
        return write(Path::new("rul.csv"), format!("unit,rul\n{lines}"));
    }
    for (recording, table) in recordings.iter().zip(&tables) {
        let mut text = csv::Writer::from_writer(Vec::new());
        let header: &[&str] = match format {
            Format::Skab => &["row", "timestamp", "score", "alarm"],
            _ => &["row", "timestamp", "score"],
        };
        text.write_record(header).expect("writing to memory cannot fail");
        for (row, (time, (score, alarm))) in recording.times.iter().zip(table).enumerate() {
            let fields =
                [row.to_string(), time.clone(), score.to_string(), u8::from(*alarm).to_string()];
            text.write_record(&fields[..header.len()]).expect("writing to memory cannot fail");
        }
        let text = text.into_inner().expect("writing to memory cannot fail");
        write(&recording.name, String::from_utf8(text).expect("times and numbers are text"))?;
    }
    Ok(())
}
