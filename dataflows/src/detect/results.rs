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
    fs::create_dir_all(folder).map_err(DetectError::io("making", folder))?;
    let real = |path: &Path| path.canonicalize().map_err(DetectError::io("reading", path));
    match real(folder)?.starts_with(real(input)?) {
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
        let mut text = String::from(match format {
            Format::Skab => "row,timestamp,score,alarm\n",
            _ => "row,timestamp,score\n",
        });
        for (row, (time, (score, alarm))) in recording.times.iter().zip(table).enumerate() {
            text += &match format {
                Format::Skab => format!("{row},{time},{score},{}\n", u8::from(*alarm)),
                _ => format!("{row},{time},{score}\n"),
            };
        }
        write(&recording.name, text)?;
    }
    Ok(())
}
