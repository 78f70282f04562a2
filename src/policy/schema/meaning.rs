//! What a key means, for the JSON schema.

/// What a key means, and its default.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meaning {
    pub(crate) key: &'static str,
    pub(super) text: &'static str,
    /// As JSON; `None` if there is no default, or none that is always the same.
    pub(super) default: Option<&'static str>,
}

impl Meaning {
    pub(crate) const fn new(key: &'static str, text: &'static str) -> Self {
        Self { key, text, default: None }
    }

    /// `default` is JSON.
    pub(crate) const fn with_default(key: &'static str, text: &'static str, default: &'static str) -> Self {
        Self { key, text, default: Some(default) }
    }
}
