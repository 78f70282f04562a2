//! Named QOS: the policy's templates, and the codecs that Windows names.

use flowspec::{Bytes, Flowspec, Qos, Rate, ServiceType, Wsa};

use super::Result;
use super::provider::provider;

/// A QOS that WSAGetQOSByName finds by its name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NamedQos {
    /// A template's, or a codec's such as `G711`; case does not matter in a look-up.
    pub name: String,
    /// What it requests.
    pub qos: Qos,
}

/// The codecs that Windows names: the rate in bytes per second and the packet size in bytes, both with IP headers, and
/// whether it is a voice codec.
///
/// - **Source**: the names are those of WSAGetQOSByName. The numbers are those of the codecs: ITU-T G.711, G.723.1 and
///   G.729 with RTP packets of 20 ms (30 ms for G.723.1), GSM 06.10 with 20 ms, H.261 and H.263 at usual rates.
const CODECS: [(&str, u64, u64, bool); 8] = [
    ("G711", 10_000, 200, true),
    ("G723.1", 2_134, 64, true),
    ("G729", 3_000, 60, true),
    ("GSM6.10", 3_650, 73, true),
    ("H263QCIF", 9_000, 1_000, false),
    ("H263CIF", 18_000, 1_000, false),
    ("H261QCIF", 16_000, 1_000, false),
    ("H261CIF", 32_000, 1_000, false),
];

/// All named QOS: the policy's templates, then the codecs whose name no template has.
///
/// - **Errors**: WSANOTINITIALISED.
/// - **Source**: WSAGetQOSByName.
pub fn named_qos_list() -> Result<Vec<NamedQos>> {
    let provider = provider()?;
    let templates = provider.policy.templates.iter();
    let mut list: Vec<_> =
        templates.map(|(name, template)| NamedQos { name: name.clone(), qos: template.qos }).collect();
    for (name, rate, packet, is_voice) in CODECS {
        if list.iter().all(|named| !named.name.eq_ignore_ascii_case(name)) {
            let service = if is_voice { ServiceType::Guaranteed } else { ServiceType::ControlledLoad };
            let mut spec = Flowspec::new(service);
            spec.token_rate = Some(Rate::new(rate));
            spec.token_bucket_size = Some(Bytes::new(packet * 4));
            spec.max_sdu_size = Some(Bytes::new(packet));
            spec.minimum_policed_size = Some(Bytes::new(packet.min(64)));
            list.push(NamedQos { name: name.into(), qos: Qos { sending: spec, receiving: spec } });
        }
    }
    Ok(list)
}

/// The QOS of a name, in any case. Where several names differ in nothing else, the exact one counts.
///
/// - **Errors**: WSAEINVAL for an unknown name; WSANOTINITIALISED.
/// - **Source**: WSAGetQOSByName.
pub fn named_qos(name: &str) -> Result<Qos> {
    let list = named_qos_list()?;
    let similar = || list.iter().find(|named| named.name.eq_ignore_ascii_case(name));
    let found = list.iter().find(|named| named.name == name).or_else(similar);
    found.map(|named| named.qos).ok_or(Wsa::Einval)
}
