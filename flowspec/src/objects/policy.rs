//! RSVP_POLICY_INFO: the policy elements of a request.

use serde::{Deserialize, Serialize};

use super::hex::Hex;

/// RSVP_POLICY_INFO. Source: `qossp.h`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyInfo {
    /// In the order of the buffer; NumPolicyElement counts them.
    pub policy_elements: Vec<PolicyElement>,
}

/// A policy element: the identity of the requester, in a form that depends on its type. Source: RSVP_POLICY, `qossp.h`;
/// RFC 2750.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyElement {
    /// Type; 0 is reserved.
    #[serde(rename = "type")]
    pub element_type: u16,
    /// Info: the bytes after Len and Type.
    pub info: Hex,
}
