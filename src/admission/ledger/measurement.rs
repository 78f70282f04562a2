//! Measurements of what the flows of a class send.

use std::sync::Arc;

use flowspec::{Both, Micros, Rate};

use super::state::Ledger;
use crate::admission::account::measured::Mean;
use crate::admission::refusal::Refusal;
use crate::policy::Admission;

/// What the flows of a class sent on average over the window that ends now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measurement<'a> {
    pub(crate) interface: &'a str,
    pub(crate) class: &'a str,
    pub(crate) window: Micros,
    pub(crate) rate: Both<Rate>,
}

impl Ledger {
    /// Records a measurement. A class whose admission is measured is charged by it until three windows later.
    ///
    /// - **Errors**: no such interface or class; a class whose admission is not measured.
    pub(crate) fn measure(&mut self, measurement: Measurement<'_>) -> Result<(), Refusal> {
        let Measurement { interface, class, window, rate } = measurement;
        let classes = Arc::clone(&self.classes);
        let (number, found) = classes.find(class)?;
        if found.admission == Admission::Declared {
            return Err(Refusal::NotMeasured { class: class.to_owned() });
        }
        let now = self.now;
        self.bookings += 1;
        let Some(account) = self.account_of(interface) else {
            return Err(Refusal::UnknownInterface { interface: interface.to_owned() });
        };
        let since = now.saturating_sub(window);
        account.measure(number, Mean { rate, since, overbooking: found.overbooking_thousandths }, now);
        self.debug_check();
        Ok(())
    }
}
