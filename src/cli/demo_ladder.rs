//! The renditions of the demo: the samples, or a file of the user's.

use std::path::Path;

use anyhow::anyhow;
use gqos::lab::demo::Rung;
use gqos::lab::media::Media;
use gqos::policy::Policy;

use super::failure::{CommandFailure, Exit};

/// The sample ladder, best first; each rendition is named after its template.
const LADDER: [(&str, &[u8]); 3] = [
    ("1080p", include_bytes!("../../examples/media/1080p.ts")),
    ("720p", include_bytes!("../../examples/media/720p.ts")),
    ("480p", include_bytes!("../../examples/media/480p.ts")),
];

/// One rendition for the file, or the sample ladder where there is none.
///
/// - **Errors**: the file cannot be read, or is no transport stream; the policy has no template for a sample.
pub(super) fn ladder(media: Option<&Path>, policy: &Policy) -> Result<Vec<Rung>, CommandFailure> {
    let Some(path) = media else {
        return LADDER.iter().map(|(name, bytes)| sample(name, bytes, policy)).collect();
    };
    let shown = path.display();
    let bytes = std::fs::read(path).map_err(|error| CommandFailure::os("open", &shown, error))?;
    let media =
        Media::new(bytes).map_err(|error| CommandFailure::new(Exit::Usage, anyhow!("{shown}: {error}")))?;
    let name = path.file_stem().map_or_else(|| "media".into(), |stem| stem.to_string_lossy());
    // The name is a word of the service's request line.
    let name: String = name.chars().map(|c| if c.is_whitespace() { '_' } else { c }).collect();
    let rung = Rung::for_file(&name, media);
    Ok(vec![rung.map_err(|error| CommandFailure::new(Exit::InvalidFile, error))?])
}

fn sample(name: &str, bytes: &[u8], policy: &Policy) -> Result<Rung, CommandFailure> {
    let media = Media::new(bytes.to_vec()).map_err(|error| CommandFailure::new(Exit::OsError, error))?;
    if !policy.templates.contains_key(name) {
        let error = anyhow!("the policy has no template {name:?}, which the sample ladder needs");
        return Err(CommandFailure::new(Exit::InvalidFile, error));
    }
    Ok(Rung { name: name.to_owned(), media, qos: None })
}
