//! Measurements of what the flows of a class send.

use std::sync::Arc;

use flowspec::{Both, Micros, Rate};

use super::state::Ledger;
use crate::admission::refusal::Refusal;
use crate::policy::Admission;

impl Ledger {
    /// Records what the flows of a class sent on average over the `window` that ends now. A class whose admission is
    /// measured is charged by it until three windows later.
    ///
    /// - **Errors**: no such interface or class; a class whose admission is not measured.
    pub fn measure(
        &mut self,
        interface: &str,
        class: &str,
        window: Micros,
        rate: Both<Rate>,
    ) -> Result<(), Refusal> {
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
        account.measure(number, rate, since, found.overbooking_thousandths, now);
        self.debug_check();
        Ok(())
    }
}
