//! Alarms, device by device.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::File;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tideflow_core::{EventTime, Stop};
use tideflow_operators::AlarmState;

use crate::buckets::Buckets;
use crate::episodes::{Change, Episode, changes, episodes};
use crate::{AlarmPoint, CompareError};

/// Devices that a report names; `alarms.csv` has all.
const DEVICES_MAX: usize = 100;
/// Of these, those that its text names.
const SHOWN_MAX: usize = 10;
/// Alarms of a device that its text names.
const TIMES_MAX: usize = 3;

/// A change of an alarm, of one side.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    published: bool,
    device: String,
    alarm: String,
    at: EventTime,
    state: AlarmState,
}

/// A line of `alarms.csv`: an alarm that is not as it was published. Times are empty where there are none.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Row {
    device: String,
    alarm: String,
    change: &'static str,
    published_raised: Option<i64>,
    published_ended: Option<i64>,
    replayed_raised: Option<i64>,
    replayed_ended: Option<i64>,
}

/// Both sides' alarms, on their way to be compared.
pub(crate) struct Alarms {
    entries: Buckets<Entry>,
    from: EventTime,
    to: EventTime,
    /// Published alarms that stand before the time: memory for those that stand at once.
    standing: BTreeMap<(String, String), EventTime>,
    report: AlarmReport,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct AlarmReport {
    pub new: u64,
    pub gone: u64,
    pub moved: u64,
    pub unchanged: u64,
    /// Published ones that stood when the time began, and in the replay too, with the same end.
    pub before_and_again: u64,
    /// Those that did not stand in the replay: it may have begun too late to raise them.
    pub before_and_not_again: u64,
    /// Published records that are none of the graph's.
    pub unreadable: u64,
    pub devices_changed: u64,
    /// Those with the most changes.
    pub devices: Vec<Device>,
}

/// A device whose alarms are not as they were published.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Device {
    device: String,
    new: u64,
    gone: u64,
    moved: u64,
    alarms: Vec<Row>,
}

impl Device {
    fn changed(&self) -> u64 {
        self.new + self.gone + self.moved
    }
}

impl Alarms {
    /// For windows of `from` to `to`, with about so many changes on a side.
    pub fn new(
        folder: &Path,
        (from, to): (EventTime, EventTime),
        alarms: u64,
    ) -> Result<Self, CompareError> {
        let entries = Buckets::new(&folder.join("alarms"), 2 * alarms)?;
        let (standing, report) = (BTreeMap::new(), AlarmReport::default());
        Ok(Alarms { entries, from, to, standing, report })
    }

    /// Takes a change of one side; a device's in order of time.
    pub fn add(&mut self, published: bool, point: Option<AlarmPoint>) -> Result<(), CompareError> {
        let Some(point) = point else {
            self.report.unreadable += 1;
            return Ok(());
        };
        let AlarmPoint { device, alarm, state, start: at, end } = point;
        if end > self.to {
            return Ok(());
        }
        if published && at < self.from {
            let key = (device, alarm);
            match state {
                AlarmState::Raised => drop(self.standing.insert(key, at)),
                AlarmState::Cleared | AlarmState::Expired => drop(self.standing.remove(&key)),
            }
            return Ok(());
        }
        let entry = Entry { published, device, alarm, at, state };
        self.entries.add(&entry.device, &entry)
    }

    /// Compares them, and writes a line for each that is not as published to `file`; none where it was asked to
    /// stop.
    pub fn compare(
        mut self,
        file: &Path,
        stop: &Stop,
    ) -> Result<Option<AlarmReport>, CompareError> {
        for ((device, alarm), at) in std::mem::take(&mut self.standing) {
            let entry = Entry { published: true, device, alarm, at, state: AlarmState::Raised };
            self.entries.add(&entry.device, &entry)?;
        }
        let Alarms { entries, mut report, from, .. } = self;
        let lines = File::create_new(file).map_err(CompareError::io("making", file))?;
        let mut lines = csv::Writer::from_writer(io::BufWriter::new(lines));
        let all = entries.each(stop, |mut entries| {
            entries.sort_by(|a, b| (&a.device, &a.alarm, a.at).cmp(&(&b.device, &b.alarm, b.at)));
            for of_device in entries.chunk_by(|a, b| a.device == b.device) {
                let device = report.device(of_device, from);
                for row in &device.alarms {
                    let failed =
                        |error: csv::Error| CompareError::io("writing", file)(error.into());
                    lines.serialize(row).map_err(failed)?;
                }
                report.keep(device);
            }
            report.cut();
            Ok(())
        })?;
        lines.flush().map_err(CompareError::io("writing", file))?;
        Ok(all.then_some(report))
    }
}

impl AlarmReport {
    /// Compares a device's alarms, and counts what became of them.
    fn device(&mut self, changed: &[Entry], from: EventTime) -> Device {
        let mut rows = Vec::new();
        let name = &changed[0].device;
        let (mut new, mut gone, mut moved) = (0, 0, 0);
        for of_alarm in changed.chunk_by(|a, b| a.alarm == b.alarm) {
            let side = |published: bool| {
                let own = of_alarm.iter().filter(|entry| entry.published == published);
                episodes(own.map(|entry| (entry.at, entry.state)), from)
            };
            for change in changes(&side(true), &side(false)) {
                let (change, published, replayed) = match change {
                    Change::New(replayed) => ("new", None, Some(replayed)),
                    Change::Gone(published) => ("gone", Some(published), None),
                    Change::Moved(published, replayed) => {
                        ("moved", Some(published), Some(replayed))
                    }
                    Change::Unchanged => {
                        self.unchanged += 1;
                        continue;
                    }
                    Change::Before { again } => {
                        self.before_and_again += u64::from(again);
                        self.before_and_not_again += u64::from(!again);
                        continue;
                    }
                };
                new += u64::from(change == "new");
                gone += u64::from(change == "gone");
                moved += u64::from(change == "moved");
                rows.push(row(name, &of_alarm[0].alarm, change, published, replayed));
            }
        }
        Device { device: name.clone(), new, gone, moved, alarms: rows }
    }

    fn keep(&mut self, device: Device) {
        self.new += device.new;
        self.gone += device.gone;
        self.moved += device.moved;
        if device.changed() > 0 {
            self.devices_changed += 1;
            self.devices.push(device);
        }
    }

    /// Keeps those with the most changes.
    fn cut(&mut self) {
        let order = |device: &Device| std::cmp::Reverse(device.changed());
        self.devices.sort_by(|a, b| (order(a), &a.device).cmp(&(order(b), &b.device)));
        self.devices.truncate(DEVICES_MAX);
    }

    /// Whether the replay says what was published.
    pub fn is_same(&self) -> bool {
        self.devices_changed == 0
    }

    /// For people: lines.
    pub fn text(&self) -> String {
        let AlarmReport { new, gone, moved, unchanged, devices_changed, .. } = self;
        let mut text =
            format!("alarms    {new} new, {gone} gone, {moved} moved, {unchanged} unchanged");
        if *devices_changed > 0 {
            let _ = write!(text, "; {devices_changed} devices are alarmed otherwise");
        }
        let (again, not) = (self.before_and_again, self.before_and_not_again);
        if again + not > 0 {
            let _ = write!(
                text,
                "\n          {} stood when the time began, of which the replay, which begins without, has raised \
                 {again} again",
                again + not
            );
        }
        if self.unreadable > 0 {
            let _ = write!(
                text,
                "\n          {} published records are none of the graph's",
                self.unreadable
            );
        }
        text.push('\n');
        for device in self.devices.iter().take(SHOWN_MAX) {
            let times: Vec<_> = device.alarms.iter().take(TIMES_MAX).map(Row::text).collect();
            let more = match device.alarms.len().saturating_sub(TIMES_MAX) {
                0 => String::new(),
                more => format!("; {more} more"),
            };
            let _ = writeln!(text, "          {:<12} {}{more}", device.device, times.join("; "));
        }
        if *devices_changed > SHOWN_MAX as u64 {
            let _ = writeln!(text, "          … and others, all in alarms.csv");
        }
        text
    }
}

fn row(
    device: &str,
    alarm: &str,
    change: &'static str,
    published: Option<Episode>,
    replayed: Option<Episode>,
) -> Row {
    let raised = |side: Option<Episode>| side.and_then(|episode| episode.raised);
    let ended = |side: Option<Episode>| side.and_then(|episode| episode.ended);
    Row {
        device: device.to_string(),
        alarm: alarm.to_string(),
        change,
        published_raised: raised(published),
        published_ended: ended(published),
        replayed_raised: raised(replayed),
        replayed_ended: ended(replayed),
    }
}

impl Row {
    /// `new 2026-11-20T10:03:00Z until 2026-11-20T10:09:00Z`.
    fn text(&self) -> String {
        let span = |raised: Option<i64>, ended: Option<i64>| {
            let raised = raised.map_or("before".to_string(), |at| EventTime(at).date());
            let ended = ended.map_or("the end".to_string(), |at| EventTime(at).date());
            format!("{raised} until {ended}")
        };
        let published = span(self.published_raised, self.published_ended);
        let replayed = span(self.replayed_raised, self.replayed_ended);
        match self.change {
            "new" => format!("new {replayed}"),
            "gone" => format!("gone {published}"),
            change => format!("{change} {published}, now {replayed}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use AlarmState::{Cleared, Raised};

    use super::*;

    fn point(device: &str, start: i64, state: AlarmState) -> Option<AlarmPoint> {
        let (start, end, alarm) = (EventTime(start), EventTime(start + 10), "hot".to_string());
        Some(AlarmPoint { device: device.to_string(), alarm, state, start, end })
    }

    #[test]
    fn alarms_are_compared_by_device_and_the_most_changed_comes_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let time = (EventTime(100), EventTime(200));
        let mut alarms = Alarms::new(folder.path(), time, 1).expect("it is new");
        for (published, device, start, state) in [
            (true, "before", 50, Raised),
            (true, "over", 50, Raised),
            (true, "over", 60, Cleared),
            (true, "same", 110, Raised),
            (true, "same", 120, Cleared),
            (true, "gone", 110, Raised),
            (true, "two", 110, Raised),
            (true, "two", 120, Cleared),
            (true, "behind", 195, Raised),
            (false, "same", 110, Raised),
            (false, "same", 120, Cleared),
            (false, "before", 110, Raised),
            (false, "two", 110, Raised),
            (false, "two", 130, Cleared),
            (false, "two", 150, Raised),
        ] {
            alarms.add(published, point(device, start, state)).expect("there is room");
        }
        let file = folder.path().join("alarms.csv");
        let report = alarms.compare(&file, &Stop::default()).expect("there is room");
        let report = report.expect("nobody asked to stop");
        assert_eq!([report.new, report.gone, report.moved, report.unchanged], [1, 1, 1, 1]);
        assert_eq!((report.before_and_again, report.before_and_not_again), (1, 0));
        let devices: Vec<_> = report.devices.iter().map(|d| d.device.as_str()).collect();
        assert_eq!((devices, report.devices_changed), (vec!["two", "gone"], 2));
        let expected = "device,alarm,change,published_raised,published_ended,replayed_raised,replayed_ended\n\
             gone,hot,gone,110,,,\n\
             two,hot,moved,110,120,110,130\n\
             two,hot,new,,,150,\n";
        assert_eq!(std::fs::read_to_string(&file).expect("just written"), expected);
        let text = report.text();
        let first =
            "alarms    1 new, 1 gone, 1 moved, 1 unchanged; 2 devices are alarmed otherwise\n";
        assert!(text.starts_with(first), "{text}");
    }
}
