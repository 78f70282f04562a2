//! Properties of the provider's parsers for any input.

use gqos_winsock::{CalleeAnswer, Offer};

/// The connect-data handshake: a message that can be read is written back to one that reads the same.
pub(crate) fn setup(input: &[u8]) {
    if let Ok(offer) = Offer::read(input) {
        let written = offer.write().expect("what was read can be written");
        assert_eq!(Offer::read(&written[12..]), Ok(offer));
    }
    if let Ok(answer) = CalleeAnswer::read(input) {
        assert_eq!(&answer.write()[12..], input);
    }
}
