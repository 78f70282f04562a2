//! What must hold of the provider, whatever comes: no panic, no fault, a code for everything.

use gqos_winsock::{Answer, Offer};

/// The set-up exchange: what reads, writes back to a message that reads the same.
pub(crate) fn setup(input: &[u8]) {
    if let Ok(offer) = Offer::read(input) {
        let written = offer.write().expect("what was read fits");
        assert_eq!(Offer::read(&written[12..]), Ok(offer));
    }
    if let Ok(answer) = Answer::read(input) {
        assert_eq!(&answer.write()[12..], input);
    }
}
