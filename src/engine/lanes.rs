//! Work that waits for an interface whose kernel changes are under way.
//!
//! A lane exists while its interface is busy. It keeps the order of one interface: its changes reach the kernel one at
//! a time as the manager ordered them, and a job runs once all changes before it are applied. Other interfaces do not
//! wait for it.

use std::collections::{BTreeMap, VecDeque};

use tokio::sync::oneshot;

use super::command::Command;
use super::report::InterfaceReport;
use crate::failure::KernelFailure;
use crate::manager::ChangeId;
use crate::tc::Change;

/// The busy interfaces, by their numbers.
#[derive(Default)]
pub(super) struct Lanes(BTreeMap<u32, Lane>);

#[derive(Default)]
struct Lane {
    /// Whether a call to the kernel is under way.
    calling: bool,
    changes: VecDeque<(ChangeId, Change)>,
    /// The last change of the link, where one is to be told to the manager: earlier ones do not matter any more.
    link: Option<bool>,
    jobs: VecDeque<Job>,
}

/// Something to be done once an interface's changes are applied.
pub(super) enum Job {
    Command(Command),
    /// The link has changed; whether it carries anything now.
    Link(bool),
    /// The interface's classes are to be measured.
    Measure,
    Report(oneshot::Sender<Result<InterfaceReport, KernelFailure>>),
}

/// What can be done next.
pub(super) enum Work {
    /// A change is to be applied. The lane counts as calling.
    Change(u32, ChangeId, Change),
    Job(u32, Job),
}

impl Lanes {
    pub(super) fn is_busy(&self, index: u32) -> bool {
        self.0.contains_key(&index)
    }

    /// How many jobs wait for an interface.
    pub(super) fn waiting(&self, index: u32) -> usize {
        self.0.get(&index).map_or(0, |lane| lane.jobs.len())
    }

    pub(super) fn order(&mut self, index: u32, id: ChangeId, change: Change) {
        self.lane(index).changes.push_back((id, change));
    }

    pub(super) fn defer(&mut self, index: u32, job: Job) {
        let lane = self.lane(index);
        match job {
            Job::Link(carries) => lane.link = Some(carries),
            // One measurement is enough.
            Job::Measure if lane.jobs.iter().any(|job| matches!(job, Job::Measure)) => {}
            job => lane.jobs.push_back(job),
        }
    }

    /// A command that had begun goes on before all others.
    pub(super) fn resume(&mut self, index: u32, command: Command) {
        self.lane(index).jobs.push_front(Job::Command(command));
    }

    /// A call to the kernel begins.
    pub(super) fn call(&mut self, index: u32) {
        let lane = self.lane(index);
        debug_assert!(!lane.calling, "interface {index} has one call at a time");
        lane.calling = true;
    }

    /// The call of an interface has ended.
    pub(super) fn returned(&mut self, index: u32) {
        self.lane(index).calling = false;
    }

    /// What can be done without waiting for the kernel, changes first. `None` where every busy interface waits for it.
    pub(super) fn next(&mut self) -> Option<Work> {
        loop {
            let (&index, lane) = self.0.iter_mut().find(|(_, lane)| !lane.calling)?;
            if let Some((id, change)) = lane.changes.pop_front() {
                lane.calling = true;
                return Some(Work::Change(index, id, change));
            }
            if let Some(carries) = lane.link.take() {
                return Some(Work::Job(index, Job::Link(carries)));
            }
            if let Some(job) = lane.jobs.pop_front() {
                return Some(Work::Job(index, job));
            }
            self.0.remove(&index);
        }
    }

    fn lane(&mut self, index: u32) -> &mut Lane {
        self.0.entry(index).or_default()
    }
}
