//! A request to rtnetlink, and what it asks for.

use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_ECHO, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST,
};
use rtnetlink::packet_route::RouteNetlinkMessage;

/// A request and what its failure is to name.
#[derive(Clone)]
pub(super) struct NetlinkRequest {
    /// The type of the message: `RTM_GETLINK`.
    pub(super) call: &'static str,
    pub(super) object: String,
    pub(super) message: RouteNetlinkMessage,
    pub(super) kind: NetlinkRequestKind,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum NetlinkRequestKind {
    /// One object, by its attributes.
    Get,
    /// One object that the kernel sends only to listeners, the caller among them.
    Echo,
    /// NLM_F_DUMP: every object of the kind.
    Dump,
    /// A new object; an error where it exists.
    Add,
    /// A new object, or new settings of one that exists.
    Replace,
    /// An object that exists is changed or deleted.
    Change,
    /// A new object, with which the kernel answers before it acknowledges.
    AddEchoed,
    /// An object that is changed, with which the kernel answers before it acknowledges.
    ChangeEchoed,
}

impl NetlinkRequestKind {
    pub(super) const fn flags(self) -> u16 {
        NLM_F_REQUEST
            | match self {
                Self::Get => 0,
                // Kernels that count their listeners answer with an acknowledgement alone without ECHO.
                Self::Echo => NLM_F_ACK | NLM_F_ECHO,
                Self::Dump => NLM_F_DUMP,
                Self::Add => NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL,
                Self::Replace => NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE,
                Self::Change => NLM_F_ACK,
                Self::AddEchoed => NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL | NLM_F_ECHO,
                Self::ChangeEchoed => NLM_F_ACK | NLM_F_ECHO,
            }
    }
}
