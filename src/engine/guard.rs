//! The manager behind a guard: a panic in it ends neither the engine's task nor what other flows were promised.
//!
//! After a panic the manager's state is in doubt, and what the input would have led to is lost. The manager goes on only
//! if the input had changed nothing by then and every invariant holds. Otherwise admission stops: requests are refused,
//! releases are accepted and do nothing, and neither budgets nor the kernel's tree change any more, so that admitted
//! flows keep their classes and their buckets until they end. The trees are removed when the engine stops.

use std::panic::{AssertUnwindSafe, catch_unwind};

use flowspec::Moment;

use crate::manager::{Input, Manager, Output};

/// After this number of panics admission stops, whatever the state: an input that panics each time would otherwise keep the
/// engine busy.
const MOST_FAULTS: u32 = 16;

/// What handles an input: [`Manager::handle`], or another function in tests.
pub(super) type Reducer = fn(&mut Manager, Input, Moment) -> Output;

/// Calls the manager, and decides what follows from a panic.
#[derive(Debug)]
pub(super) struct Guard {
    reducer: Reducer,
    faults: u32,
    /// The panic after which admission has stopped.
    stopped_by: Option<String>,
}

/// The manager has not handled an input.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Fault {
    /// What the panic says.
    pub(super) text: String,
    /// Whether admission has stopped.
    pub(super) is_stopped: bool,
    /// Whether it has happened now, and not before.
    pub(super) is_new: bool,
}

impl Guard {
    pub(super) const fn new(reducer: Reducer) -> Self {
        Self { reducer, faults: 0, stopped_by: None }
    }

    /// Whether admission has stopped.
    pub(super) const fn is_stopped(&self) -> bool {
        self.stopped_by.is_some()
    }

    /// Lets the manager handle an input.
    ///
    /// - **Errors**: it has panicked, or admission has stopped and the input is a request.
    pub(super) fn handle(
        &mut self,
        manager: &mut Manager,
        input: Input,
        now: Moment,
    ) -> Result<Output, Fault> {
        if let Some(text) = &self.stopped_by {
            return match input {
                // A tree is removed as a whole, whatever is in it.
                Input::Stop => self.call(manager, input, now).map_err(|panic| self.fault(text_of(&*panic))),
                Input::Request { .. } => Err(Fault { text: text.clone(), is_stopped: true, is_new: false }),
                _ => Ok(Output::default()),
            };
        }
        let before = manager.stamp();
        // A flow waits for the kernel's answer, which would not come again.
        let may_be_lost = !matches!(input, Input::Applied { .. });
        self.call(manager, input, now).map_err(|panic| {
            let text = text_of(&*panic);
            self.faults += 1;
            let is_whole = may_be_lost && manager.stamp() == before && invariants_hold(manager);
            if !is_whole || self.faults >= MOST_FAULTS {
                self.stopped_by = Some(text.clone());
            }
            self.fault(text)
        })
    }

    fn call(&self, manager: &mut Manager, input: Input, now: Moment) -> std::thread::Result<Output> {
        let reducer = self.reducer;
        // What a panic leaves behind is not used before it is checked.
        catch_unwind(AssertUnwindSafe(|| reducer(manager, input, now)))
    }

    const fn fault(&self, text: String) -> Fault {
        Fault { text, is_stopped: self.is_stopped(), is_new: true }
    }
}

fn invariants_hold(manager: &Manager) -> bool {
    let check = || {
        manager.invariants();
        manager.ledger().invariants();
    };
    catch_unwind(AssertUnwindSafe(check)).is_ok()
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic without a text".to_owned())
}
