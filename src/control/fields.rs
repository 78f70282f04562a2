//! Fields that only some variants of an enum have.
//!
//! An enum that a tag tells apart is read as one flat type with the fields of all variants: read as an enum, each variant
//! would be read by code of its own, twice, because its fields may stand before the tag.

/// A variant lacks one of its fields.
#[derive(Debug, thiserror::Error)]
#[error("missing field `{0}`")]
pub(super) struct MissingField(&'static str);

/// The value of a field that a variant has.
pub(super) fn required<T>(field: Option<T>, name: &'static str) -> Result<T, MissingField> {
    field.ok_or(MissingField(name))
}
