//! The text form of a flowspec, for command lines and messages.
//!
//! `guaranteed, token_rate = 6 Mbit/s, token_bucket_size = 64 KiB, peak_bandwidth = infinite`: the service type, then
//! the fields that are specified, in any order, by Winsock's names in snake case; a flag is its name without a value.
//! [`Display`](fmt::Display) and [`FromStr`] are inverses.

use core::fmt;
use core::str::FromStr;

use crate::flowspec::Flowspec;
use crate::service::UnknownServiceType;
use crate::units::UnitError;

/// Why a text does not follow the text form of a [`Flowspec`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FlowspecTextError {
    /// The text does not begin with a service type.
    #[error(transparent)]
    ServiceType(#[from] UnknownServiceType),
    /// A field's name is not known.
    #[error("{0:?} is not a field of a flowspec; they are {fields}, and the flags no_traffic_control and no_qos_signaling", fields = FIELDS.join(", "))]
    UnknownField(String),
    /// A field is given twice.
    #[error("{0} is given twice")]
    Twice(&'static str),
    /// A field has no value.
    #[error("{0} has no value; write {0} = …")]
    NoValue(&'static str),
    /// A field's value is not a quantity.
    #[error("{field}: {error}")]
    Quantity {
        /// By Winsock's name in snake case.
        field: &'static str,
        /// The text of the value, and what would be accepted.
        error: Box<UnitError>,
    },
}

const FIELDS: [&str; 8] = [
    "token_rate",
    "token_bucket_size",
    "peak_bandwidth",
    "latency",
    "delay_variation",
    "max_sdu_size",
    "minimum_policed_size",
    "reserved_rate",
];

impl fmt::Display for Flowspec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.service_type)?;
        let mut field = |name: &str, value: Option<&dyn fmt::Display>| match value {
            Some(value) => write!(f, ", {name} = {value}"),
            None => Ok(()),
        };
        field("token_rate", self.token_rate.as_ref().map(|value| value as _))?;
        field("token_bucket_size", self.token_bucket_size.as_ref().map(|value| value as _))?;
        field("peak_bandwidth", self.peak_bandwidth.as_ref().map(|value| value as _))?;
        field("latency", self.latency.as_ref().map(|value| value as _))?;
        field("delay_variation", self.delay_variation.as_ref().map(|value| value as _))?;
        field("max_sdu_size", self.max_sdu_size.as_ref().map(|value| value as _))?;
        field("minimum_policed_size", self.minimum_policed_size.as_ref().map(|value| value as _))?;
        field("reserved_rate", self.reserved_rate.as_ref().map(|value| value as _))?;
        if self.no_traffic_control {
            f.write_str(", no_traffic_control")?;
        }
        if self.no_qos_signaling {
            f.write_str(", no_qos_signaling")?;
        }
        Ok(())
    }
}

impl FromStr for Flowspec {
    type Err = FlowspecTextError;

    fn from_str(text: &str) -> Result<Self, FlowspecTextError> {
        let mut parts = text.split(',').map(str::trim);
        let mut spec = Self::new(parts.next().unwrap_or_default().parse()?);
        for part in parts {
            let (name, value) = match part.split_once('=') {
                Some((name, value)) => (name.trim(), Some(value.trim())),
                None => (part, None),
            };
            match name {
                "token_rate" => set("token_rate", &mut spec.token_rate, value)?,
                "token_bucket_size" => set("token_bucket_size", &mut spec.token_bucket_size, value)?,
                "peak_bandwidth" => set("peak_bandwidth", &mut spec.peak_bandwidth, value)?,
                "latency" => set("latency", &mut spec.latency, value)?,
                "delay_variation" => set("delay_variation", &mut spec.delay_variation, value)?,
                "max_sdu_size" => set("max_sdu_size", &mut spec.max_sdu_size, value)?,
                "minimum_policed_size" => set("minimum_policed_size", &mut spec.minimum_policed_size, value)?,
                "reserved_rate" => set("reserved_rate", &mut spec.reserved_rate, value)?,
                "no_traffic_control" if value.is_none() => {
                    raise("no_traffic_control", &mut spec.no_traffic_control)?;
                }
                "no_qos_signaling" if value.is_none() => {
                    raise("no_qos_signaling", &mut spec.no_qos_signaling)?;
                }
                unknown => return Err(FlowspecTextError::UnknownField(unknown.to_owned())),
            }
        }
        Ok(spec)
    }
}

fn set<T: FromStr<Err = UnitError>>(
    field: &'static str,
    place: &mut Option<T>,
    value: Option<&str>,
) -> Result<(), FlowspecTextError> {
    let value = value.ok_or(FlowspecTextError::NoValue(field))?;
    let value =
        value.parse().map_err(|error| FlowspecTextError::Quantity { field, error: Box::new(error) })?;
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(FlowspecTextError::Twice(field)),
    }
}

fn raise(field: &'static str, flag: &mut bool) -> Result<(), FlowspecTextError> {
    if std::mem::replace(flag, true) { Err(FlowspecTextError::Twice(field)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bytes, Peak, Rate, ServiceType};

    #[test]
    fn a_flowspec_is_parsed_and_displayed() {
        let text = "guaranteed, token_rate = 6 Mbit/s, token_bucket_size = 64 KiB, peak_bandwidth = infinite, no_qos_signaling";
        let spec: Flowspec = text.parse().expect("a flowspec");
        let mut expected = Flowspec::guaranteed(Rate::from_mbit(6), Bytes::new(65_536));
        expected.peak_bandwidth = Some(Peak::Infinite);
        expected.no_qos_signaling = true;
        assert_eq!(spec, expected);
        assert_eq!(spec.to_string(), text);
        assert_eq!("best_effort".parse(), Ok(Flowspec::BEST_EFFORT));
        let loose = "controlled_load,latency=5ms,token_rate=1Gbit".parse::<Flowspec>().expect("a flowspec");
        assert_eq!(loose.to_string(), "controlled_load, token_rate = 1 Gbit/s, latency = 5 ms");
    }

    #[track_caller]
    fn check_refused(text: &str, words: &str) {
        let message = text.parse::<Flowspec>().expect_err(text).to_string();
        assert!(message.contains(words), "{text}: {message}");
    }

    #[test]
    fn a_text_that_is_not_a_flowspec_is_refused_with_the_reason() {
        check_refused("", "\"\" is not a service type; they are no_traffic, best_effort");
        check_refused("gold", "\"gold\" is not a service type");
        check_refused(
            "guaranteed, rate = 6 Mbit/s",
            "\"rate\" is not a field of a flowspec; they are token_rate",
        );
        check_refused("guaranteed,", "\"\" is not a field");
        check_refused("guaranteed, token_rate", "token_rate has no value");
        check_refused("guaranteed, token_rate = 6M", "token_rate: \"6M\" can be read in two ways");
        check_refused("guaranteed, latency = 1 s, latency = 1 s", "latency is given twice");
        check_refused("guaranteed, no_qos_signaling, no_qos_signaling", "no_qos_signaling is given twice");
        check_refused("guaranteed, no_qos_signaling = 1", "\"no_qos_signaling\" is not a field");
        assert_eq!("no_change".parse(), Ok(Flowspec::new(ServiceType::NoChange)));
    }
}
