//! What is decided outside of a graph and changes its results, such as the version of a model: each epoch's
//! binding says what held in it.
//!
//! Worker 0 decides, and opens every epoch with a word to all workers: what holds in it, and what will be wanted
//! next. A worker says when it is ready for that. When all are, the next epoch opens with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use crate::operator::OperatorName;
use crate::pace::{Tick, Word};
use crate::{Epoch, Flow};

/// What holds in an epoch, by the names of the choices. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Chosen(Arc<BTreeMap<String, String>>);

impl Chosen {
    /// What holds of the choice of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Whether nothing is chosen.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Chosen {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(named: I) -> Self {
        let named = named.into_iter().map(|(name, value)| (name.into(), value.into()));
        Chosen(Arc::new(named.collect()))
    }
}

/// Something that is chosen outside of the graph, as one process knows it; its workers share it. Every
/// implementation promises:
/// 1. nothing here waits: what takes time is done on a thread of its own;
/// 2. equal values give equal results, in any process and after any restart;
/// 3. what is ready stays ready while it is the last value or the one before that was prepared.
///
/// ```
/// use tideflow_core::Choice;
/// /// Needs no preparation.
/// struct Fixed(&'static str);
/// impl Choice for Fixed {
///     fn wanted(&self) -> Option<String> { Some(self.0.to_string()) }
///     fn prepare(&self, _value: &str) {}
///     fn is_ready(&self, _value: &str) -> bool { true }
/// }
/// assert!(Fixed("1").is_ready("1"));
/// ```
pub trait Choice: Send + Sync + 'static {
    /// What should hold from now on. Asked where worker 0 is, at every cut. None only before anything is known,
    /// never in the process that starts the graph.
    fn wanted(&self) -> Option<String>;
    /// This value is wanted. Said in every epoch until it holds.
    fn prepare(&self, value: &str);
    /// Whether this process can go on with it.
    fn is_ready(&self, value: &str) -> bool;
}

/// What every worker is told when an epoch opens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// The epoch.
    pub epoch: Epoch,
    /// What holds in it.
    pub chosen: Chosen,
    /// What will, once every worker is ready for it.
    pub next: Chosen,
}

/// A worker is ready for what is wanted next.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ready {
    name: String,
    value: String,
    worker: usize,
}

/// Who is ready for what is wanted next.
#[derive(Default)]
struct Readiness {
    workers: BTreeSet<usize>,
    /// For how many epochs the others were waited for.
    waited: u64,
}

impl Readiness {
    /// Epochs after which it is said who is waited for: ten seconds of them, at the usual interval.
    const LONG: u64 = 200;

    /// One more epoch without all of so many workers: which are missing, once it has been long.
    fn wait(&mut self, workers: usize) -> Option<Vec<usize>> {
        self.waited += 1;
        let missing = (0..workers).filter(|worker| !self.workers.contains(worker));
        (self.waited == Self::LONG).then(|| missing.collect())
    }
}

/// The choices of a graph, where worker 0 decides.
#[derive(Default)]
pub(crate) struct Choices {
    all: Vec<(String, Arc<dyn Choice>)>,
    chosen: Chosen,
    next: Chosen,
    ready: BTreeMap<String, Readiness>,
    workers: usize,
    /// What holds in the epochs that are open, oldest first.
    open: BTreeMap<Epoch, Chosen>,
}

impl Choices {
    /// Those of a graph on so many workers, which begin with what is wanted.
    pub fn new(all: Vec<(String, Arc<dyn Choice>)>, workers: usize) -> Self {
        let value = |(name, choice): &(String, Arc<dyn Choice>)| {
            choice.wanted().map(|value| (name.clone(), value))
        };
        let chosen = all.iter().filter_map(value).collect();
        Choices { all, chosen, workers, ..Choices::default() }
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// A worker is ready.
    pub fn hear(&mut self, Ready { name, value, worker }: Ready) {
        if self.next.get(&name) == Some(value.as_str()) {
            self.ready.entry(name).or_default().workers.insert(worker);
        }
    }

    /// Opens an epoch.
    pub fn open(&mut self, epoch: Epoch) -> Opening {
        let (mut chosen, mut next) = (BTreeMap::new(), BTreeMap::new());
        for (name, choice) in &self.all {
            let held = self.chosen.get(name);
            let wanted = choice.wanted().filter(|wanted| held != Some(wanted));
            let told = wanted.is_some() && wanted.as_deref() == self.next.get(name);
            let ready = self.ready.entry(name.clone()).or_default();
            let all_ready = ready.workers.len() == self.workers;
            if !told || all_ready {
                self.ready.remove(name);
            } else if let Some(missing) = ready.wait(self.workers) {
                let (value, workers) = (&wanted, missing);
                tracing::warn!(
                    choice = name,
                    value,
                    ?workers,
                    "a change waits for workers that are not ready for it"
                );
            }
            if told && all_ready {
                tracing::info!(choice = name, epoch, value = wanted, "holds from this epoch on");
                chosen.extend(wanted.map(|value| (name.clone(), value)));
            } else {
                chosen.extend(held.map(|value| (name.clone(), value.to_string())));
                next.extend(wanted.map(|value| (name.clone(), value)));
            }
        }
        // What is the same shares its memory.
        for (kept, new) in [(&mut self.chosen, chosen), (&mut self.next, next)] {
            if *kept.0 != new {
                *kept = Chosen(Arc::new(new));
            }
        }
        self.open.insert(epoch, self.chosen.clone());
        Opening { epoch, chosen: self.chosen.clone(), next: self.next.clone() }
    }

    /// An epoch that was opened before, as it was. One that was recorded before the graph had a choice has what
    /// the first new epoch has.
    pub fn opened(&self, epoch: Epoch, recorded: &Chosen) -> Opening {
        let later = self.chosen.0.iter().filter(|(name, _)| recorded.get(name).is_none());
        let chosen = match later.clone().next() {
            None => recorded.clone(),
            Some(_) => {
                recorded.0.iter().chain(later).map(|(n, v)| (n.as_str(), v.as_str())).collect()
            }
        };
        Opening { epoch, chosen, next: Chosen::default() }
    }

    /// Ends an epoch: what held in it.
    pub fn close(&mut self, epoch: Epoch) -> Chosen {
        self.open.remove(&epoch).unwrap_or_default()
    }
}

impl<'s> Flow<'s> {
    /// Has every epoch's binding say what of this choice holds in it. Returns each epoch's opening, on every
    /// worker, in no order; the choice's own value is under `name`.
    ///
    /// The first epoch that was never opened before opens with what the process of worker 0 wants.
    pub fn choose(&self, name: &str, choice: Arc<dyn Choice>) -> StreamVec<'s, Epoch, Opening> {
        let openings = self.openings();
        self.add_choice(name, choice.clone());
        let operator = OperatorName::new(&format!("{name}: choice"));
        let mut builder = OperatorBuilder::new(operator.as_str().to_string(), self.scope());
        let mut ticks = builder.new_input(self.ticks(), Pipeline);
        let (words, stream) = builder.new_output::<Vec<Word>>();
        // Leads to no output: the binder, which hears the words, would wait for itself.
        let mut opened = builder.new_input_connection(openings.clone(), Pipeline, []);
        let mut words = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(words);
        let (name, worker) = (name.to_string(), self.worker().0);
        builder.build(move |_| {
            let (mut last, mut next, mut said) = (0, None::<String>, false);
            move |_| {
                operator.run(|| {
                    opened.for_each(|_, openings| {
                        // Those that are told again come beside the first new one.
                        for Opening { epoch, next: told, .. } in openings.drain(..) {
                            if epoch > last {
                                let told = told.get(&name).map(String::from);
                                said &= told == next;
                                (last, next) = (epoch, told);
                            }
                        }
                    });
                    let wanted = next.as_ref().filter(|_| !said);
                    if let Some(value) = wanted {
                        choice.prepare(value);
                    }
                    ticks.for_each(|capability, _: &mut Vec<Tick>| {
                        if let Some(value) = wanted.filter(|v| !said && choice.is_ready(v)) {
                            let (name, value) = (name.clone(), value.clone());
                            let ready = Ready { name, value, worker };
                            words.activate().session(&capability).give(Word::Ready(ready));
                            said = true;
                        }
                    });
                });
            }
        });
        self.listen(stream);
        openings
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Wants(Mutex<String>);

    impl Choice for Wants {
        fn wanted(&self) -> Option<String> {
            Some(self.0.lock().expect("no panic").clone())
        }
        fn prepare(&self, _: &str) {}
        fn is_ready(&self, _: &str) -> bool {
            true
        }
    }

    fn ready(worker: usize, value: &str) -> Ready {
        Ready { name: "m".to_string(), value: value.to_string(), worker }
    }

    #[test]
    fn what_is_wanted_holds_from_the_epoch_after_all_are_ready_for_it() {
        let wants = Arc::new(Wants::default());
        let want = |value: &str| *wants.0.lock().expect("no panic") = value.to_string();
        want("1");
        let mut choices = Choices::new(vec![("m".to_string(), wants.clone())], 2);
        let mut open = |epoch, heard: &[Ready]| {
            heard.iter().for_each(|ready| choices.hear(ready.clone()));
            let Opening { chosen, next, .. } = choices.open(epoch);
            assert_eq!(choices.close(epoch), chosen);
            (chosen.get("m").map(String::from), next.get("m").map(String::from))
        };
        let then =
            |holds: &str, next: Option<&str>| (Some(holds.to_string()), next.map(String::from));
        assert_eq!(open(1, &[]), then("1", None));
        want("2");
        assert_eq!(open(2, &[]), then("1", Some("2")));
        // One of two, twice; then one that is ready for something else.
        assert_eq!(open(3, &[ready(0, "2"), ready(0, "2")]), then("1", Some("2")));
        assert_eq!(open(4, &[ready(1, "3")]), then("1", Some("2")));
        assert_eq!(open(5, &[ready(1, "2")]), then("2", None));
        // It is wanted no more before all are ready: those that were must say so again.
        want("3");
        assert_eq!(open(6, &[]), then("2", Some("3")));
        want("2");
        assert_eq!(open(7, &[ready(0, "3")]), then("2", None));
        want("3");
        assert_eq!(open(8, &[]), then("2", Some("3")));
        assert_eq!(open(9, &[ready(1, "3")]), then("2", Some("3")));
        assert_eq!(open(10, &[ready(0, "3")]), then("3", None));
    }

    #[test]
    fn who_is_not_ready_for_long_is_told_once() {
        let mut ready = Readiness { workers: BTreeSet::from([1]), waited: 0 };
        let told: Vec<_> = (0..2 * Readiness::LONG).filter_map(|_| ready.wait(3)).collect();
        assert_eq!(told, [vec![0, 2]]);
    }

    #[test]
    fn what_was_recorded_is_opened_as_it_was_and_what_comes_new_with_what_is_wanted() {
        let wants = Arc::new(Wants(Mutex::new("2".to_string())));
        let mut choices = Choices::new(vec![("m".to_string(), wants)], 1);
        let recorded = [("m", "1"), ("gone", "7")].into_iter().collect();
        let holds = |opening: Opening| opening.chosen.get("m").map(String::from);
        assert_eq!(holds(choices.opened(7, &recorded)).as_deref(), Some("1"));
        // Before the graph had a choice.
        assert_eq!(holds(choices.opened(6, &Chosen::default())).as_deref(), Some("2"));
        assert_eq!(holds(choices.open(8)).as_deref(), Some("2"));
    }
}
