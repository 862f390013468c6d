use std::fs;
use std::path::Path;

use tempfile::{TempDir, tempdir};

use super::*;
use crate::files::{FileSink, FileSinkConfig};

fn text(folder: &TempDir) -> &str {
    folder.path().to_str().expect("plain")
}

/// Visible files, and those that wait, each as name and content; the mark of the job left out.
fn files(folder: &TempDir) -> [Vec<String>; 2] {
    let list = |path: &Path| {
        let entries =
            fs::read_dir(path).expect("it is there").map(|entry| entry.expect("readable"));
        let files = entries.filter(|entry| entry.file_type().expect("known").is_file());
        let named =
            files.map(|entry| (entry.file_name().into_string().expect("plain"), entry.path()));
        let named = named.filter(|(name, _)| !name.starts_with("job-"));
        let shown = |(name, path): (String, _)| {
            let name = name.replace(&"0".repeat(18), "");
            format!("{name}: {}", fs::read_to_string(path).expect("text"))
        };
        let mut all: Vec<_> = named.map(shown).collect();
        all.sort();
        all
    };
    [list(folder.path()), list(&folder.path().join(".pending"))]
}

/// A start of job `a` whose workers have written these epochs, each with its generation as content.
fn start(
    folder: &TempDir,
    generation: u64,
    counted: Option<(u64, Epoch)>,
    written: &[(usize, Epoch)],
) -> Settling {
    let counted = counted.map(|(generation, epoch)| Counted { generation, epoch });
    let folders = Folders::held("a", generation, counted);
    folders.open("out", text(folder), 0).expect("it is there");
    for (worker, epoch) in written {
        let of_worker = Folders::held("a", generation, counted);
        let place = of_worker.open("out", text(folder), *worker).expect("it is there");
        place.write(*epoch, format!("of {generation}").as_bytes()).expect("there is room");
        place.keep().expect("there is room");
    }
    folders.settling().expect("it takes snapshots")
}

#[test]
fn golden_files_are_visible_once_a_snapshot_after_them_counts() {
    let folder = tempdir().expect("a folder for a while");
    let settling = start(&folder, 1, None, &[(0, 1), (1, 1), (0, 2), (10, 3)]);
    settling.begin().expect("it is empty");
    let waiting = ["01-01-0: of 1", "01-01-1: of 1", "02-01-0: of 1", "03-01-10: of 1"];
    assert_eq!(files(&folder), [vec![], waiting.map(String::from).to_vec()]);
    settling.counts(2).expect("there is room");
    let visible = ["01-0.jsonl: of 1", "01-1.jsonl: of 1", "02-0.jsonl: of 1"];
    assert_eq!(files(&folder)[0], visible);
    assert_eq!(files(&folder)[1], waiting[3..]);
}

#[test]
fn crash_a_start_shows_what_the_last_snapshot_has_made_count_and_deletes_the_rest() {
    let folder = tempdir().expect("a folder for a while");
    start(&folder, 1, None, &[(0, 1), (0, 2), (0, 9)]).begin().expect("it is empty");
    // A snapshot after epoch 2 counts, and the process is killed at once.
    let second = start(&folder, 2, Some((1, 2)), &[(0, 3), (1, 3)]);
    second.begin().expect("it goes on");
    assert_eq!(files(&folder)[0], ["01-0.jsonl: of 1", "02-0.jsonl: of 1"]);
    assert_eq!(files(&folder)[1], ["03-02-0: of 2", "03-02-1: of 2"]);
    // It is killed before it has taken a snapshot: what it has written was never published.
    start(&folder, 3, Some((1, 2)), &[(0, 3)]).begin().expect("it goes on");
    assert_eq!(files(&folder)[0], ["01-0.jsonl: of 1", "02-0.jsonl: of 1"]);
    assert_eq!(files(&folder)[1], ["03-03-0: of 3"]);
}

#[test]
fn crash_a_start_without_a_snapshot_deletes_all_that_waits() {
    let folder = tempdir().expect("a folder for a while");
    start(&folder, 1, None, &[(0, 1), (1, 2)]).begin().expect("it is empty");
    start(&folder, 2, None, &[(0, 1)]).begin().expect("nothing is visible");
    assert_eq!(files(&folder), [vec![], vec!["01-02-0: of 2".to_string()]]);
}

#[test]
fn crash_settling_that_was_broken_off_anywhere_is_finished_by_the_next_start() {
    let all = [(0, 1), (1, 1), (0, 2), (1, 3), (0, 4)];
    let whole = ["01-0.jsonl: of 1", "01-1.jsonl: of 1", "02-0.jsonl: of 1", "03-1.jsonl: of 1"];
    for renamed in 0..=4 {
        let folder = tempdir().expect("a folder for a while");
        start(&folder, 1, None, &all).begin().expect("it is empty");
        for (worker, epoch) in &all[..renamed] {
            let file = Pending { epoch: *epoch, generation: 1, worker: *worker };
            let from = folder.path().join(".pending").join(file.to_string());
            fs::rename(from, folder.path().join(file.visible().to_string())).expect("it is there");
        }
        start(&folder, 2, Some((1, 3)), &[]).begin().expect("it goes on");
        assert_eq!(files(&folder), [whole.map(String::from).to_vec(), vec![]]);
    }
}

#[test]
fn fault_a_superseded_process_shows_nothing_of_its_own_and_its_files_go_with_the_next_snapshot() {
    let folder = tempdir().expect("a folder for a while");
    let zombie = start(&folder, 1, None, &[(0, 1)]);
    zombie.begin().expect("it is empty");
    // Its snapshot after epoch 1 counts, and it is frozen.
    let successor = start(&folder, 2, Some((1, 1)), &[(0, 2), (0, 3)]);
    successor.begin().expect("it goes on");
    // It goes on where it was, and writes an epoch as its successor does not cut it.
    zombie.counts(1).expect("it is done already");
    start(&folder, 1, None, &[(0, 2), (3, 2)]);
    successor.counts(2).expect("there is room");
    assert_eq!(files(&folder)[0], ["01-0.jsonl: of 1", "02-0.jsonl: of 2"]);
    assert_eq!(files(&folder)[1], ["03-02-0: of 2"]);
    // A start that was slow settles by the same snapshot as its successor did.
    zombie.counts(1).expect("it is done already");
    assert_eq!(files(&folder)[0].len(), 2);
}

#[test]
fn a_run_that_goes_on_from_an_earlier_snapshot_knows_what_is_visible() {
    let counted = Some(Counted { generation: 4, epoch: 17 });
    assert_eq!(Folders::held("a", 5, counted).published(), 17);
    assert_eq!((Folders::held("a", 1, None).published(), Folders::default().published()), (0, 0));
}

#[test]
fn fault_a_folder_of_another_job_or_of_another_time_is_refused() {
    let folder = tempdir().expect("a folder for a while");
    start(&folder, 1, None, &[(0, 1), (0, 2)]).begin().expect("it is empty");
    let other = Folders::held("b", 1, None);
    other.open("out", text(&folder), 0).expect("it is there");
    let refused = other.settling().expect("it takes snapshots").begin().expect_err("it is a's");
    let said =
        format!("folder `{}`: expected that of job `b`, found that of job `a`", text(&folder));
    assert_eq!(refused.to_string(), said);
    assert_eq!(refused.kind(), tideflow_core::ErrorKind::Invalid);
    // It has left nothing there.
    let job = start(&folder, 2, Some((1, 2)), &[]);
    job.begin().expect("it is a's");
    let ahead = start(&folder, 3, Some((1, 1)), &[]).begin().expect_err("it was set back");
    let said = ahead.to_string();
    assert!(said.contains("up to 1, which is what the job has published"), "{said}");
    assert!(said.contains("found `00000000000000000002-0.jsonl`"), "{said}");
}

#[test]
fn fault_a_folder_that_is_none_or_another_sinks_is_refused() {
    let folder = tempdir().expect("a folder for a while");
    let folders = Folders::default();
    folders.open("one", text(&folder), 0).expect("it is there");
    let again = format!("{}/.", text(&folder));
    let taken = folders.open("two", &again, 0).err().expect("it is taken").to_string();
    assert!(taken.ends_with("expected one of the sink's own, found that of sink `one`"), "{taken}");
    let missing = format!("{}/missing", text(&folder));
    let said = folders.open("two", &missing, 0).err().expect("it is not there").to_string();
    assert_eq!(said, format!("folder `{missing}`: expected a folder, found nothing"));
    let file = format!("{}/file", text(&folder));
    fs::write(&file, "").expect("there is room");
    let said = folders.open("two", &file, 0).err().expect("it is a file").to_string();
    assert_eq!(said, format!("folder `{file}`: expected a folder, found a file"));
}

#[test]
fn a_check_says_what_is_there_and_leaves_nothing() {
    use tideflow_core::SinkSpec;
    let folder = tempdir().expect("a folder for a while");
    let check = |folder: &str| {
        let config = FileSinkConfig { folder: folder.to_string() };
        let checks = FileSink::<u64>::json_lines(&config).checks();
        assert_eq!(checks.len(), 1);
        (checks[0].run)().map_err(|failure| failure.message)
    };
    assert_eq!(check(text(&folder)), Ok("can be written in".to_string()));
    assert_eq!(fs::read_dir(folder.path()).expect("it is there").count(), 0);
    let missing = format!("{}/missing", text(&folder));
    let said = format!("folder `{missing}`: expected a folder, found nothing");
    assert_eq!(check(&missing), Err(said));
}

#[test]
fn golden_files_of_a_job_that_keeps_nothing_are_visible_at_once_and_never_overwritten() {
    let folder = tempdir().expect("a folder for a while");
    for run in 1..=3 {
        for worker in 0..run {
            let place = Folders::default().open("out", text(&folder), worker).expect("it is there");
            for epoch in 1..=2 {
                place.write(epoch, format!("{run}").as_bytes()).expect("there is room");
            }
            place.keep().expect("there is room");
        }
    }
    let visible = [
        "01-01-0.jsonl: 1",
        "01-01-1.jsonl: 2",
        "01-01-2.jsonl: 3",
        "01-02-0.jsonl: 1",
        "01-02-1.jsonl: 2",
        "01-02-2.jsonl: 3",
        "02-01-0.jsonl: 2",
        "02-01-1.jsonl: 3",
        "02-02-0.jsonl: 2",
        "02-02-1.jsonl: 3",
        "03-01-0.jsonl: 3",
        "03-02-0.jsonl: 3",
    ];
    assert_eq!(files(&folder), [visible.map(String::from).to_vec(), vec![]]);
}

#[test]
fn crash_what_a_run_has_not_written_to_the_end_is_deleted_by_the_next_and_its_number_stays_used() {
    let folder = tempdir().expect("a folder for a while");
    let open = || Folders::default().open("out", text(&folder), 0).expect("it is there");
    let first = open();
    let of = |run: u64| folder.path().join(".pending").join(format!("run-{run:020}-0"));
    fs::write(of(1).join("1"), "half").expect("there is room");
    open();
    assert_eq!((of(1).exists(), of(2).exists()), (false, true));
    // One that is still there goes on under its own number.
    first.write(1, b"late").expect("there is room");
    open();
    assert_eq!([of(1), of(2), of(3)].map(|path| path.exists()), [false, false, true]);
    assert_eq!(files(&folder)[0], ["01-01-0.jsonl: late"]);
}
