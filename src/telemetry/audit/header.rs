//! What a file of the audit trail begins with.

use serde::{Deserialize, Serialize};

use crate::policy::Policy;

/// The run of a daemon that an audit trail belongs to.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AuditRun {
    /// A name that no other run has: with the number of a line it names that line for ever.
    pub run: String,
    /// The version of gqos.
    pub version: String,
    /// The daemon's process.
    pub pid: u32,
}

/// A digest of what a policy says, whatever its files are called and however they are laid out. The settings of
/// the daemon and the tables of proxies are not part of it.
///
/// FNV-1a with 64 bits: it tells policies apart, and is no signature.
pub fn policy_digest(policy: &Policy) -> String {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    // Neither decides a request.
    let text = Policy { daemon: None, proxies: Default::default(), ..policy.clone() }.effective();
    // A comment beside the name of a table has its file and line.
    let stated = text.lines().map(|line| match line.starts_with('[') {
        true => line.split_once("    # ").map_or(line, |(name, _)| name),
        false => line,
    });
    let stated = stated.flat_map(|line| line.bytes().chain([b'\n']));
    let digest = stated.fold(OFFSET, |digest, byte| (digest ^ u64::from(byte)).wrapping_mul(PRIME));
    format!("{digest:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Source;

    #[test]
    fn a_digest_depends_on_what_a_policy_says_alone() {
        let digest = |name: &str, text: &str| {
            policy_digest(&Policy::parse(&[Source { name, text }]).expect("a policy").0)
        };
        let plain = "version = 1\n[interface.eth0]\negress = { capacity = \"1 Gbit/s\" }\n";
        let spaced =
            "# a comment\nversion = 1\n\n[interface.eth0]\negress = { capacity = \"1000 Mbit/s\" }\n";
        let other = "version = 1\n[interface.eth0]\negress = { capacity = \"2 Gbit/s\" }\n";
        assert_eq!(digest("a.toml", plain), digest("b.toml", spaced));
        assert_ne!(digest("a.toml", plain), digest("a.toml", other));
    }
}
